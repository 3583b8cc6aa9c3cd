"""What paying for regions buys, and what a cold start does: trainings that differ in one setting, by seed.

    python scripts/gates.py train --name gates-0 --seed 0 --arms gated always never "answer alone"
    python scripts/gates.py report gates-0 gates-1 gates-2

`train` makes a run of the profile `cpu` under runs/ and in it a branch for each arm; `report` writes into results/.
"""

import argparse

import numpy as np

from mags_kit import evaluate, experiments, load_policy, open_run, prepare, read_json, read_samples, reopen, write_json
from mags_kit.config import WEIGHTS
from mags_kit.evaluation.conditions import MAIN
from mags_kit.evaluation.statistics import over_seeds
from mags_kit.method import monitoring
from mags_kit.run import PROJECT, branch

ALONE = dict.fromkeys(WEIGHTS, 0.0) | {"answer": 1.0}
ARMS = {
    "gated": {"gate": "answer"},
    "always": {"gate": "always"},
    "never": {"gate": "none"},
    "answer alone": {"rewards": ALONE},
    "no cold start": {"cold_start": 0},
    "cold start": {"cold_start": 20},
}
HALF = 0.125  # half of the gain that the reference results have, in accuracy


def train(options) -> None:
    settings = {"seed": options.seed, "validate_every": options.every, "model": options.model}
    run = open_run("cpu", options.name, settings)
    prepare(run)
    experiments.measure_pool(run)
    test = read_samples(run.samples("test"))
    evaluate(run, load_policy(run.config), test, "base", [MAIN])
    for arm in options.arms:
        try:
            inside = experiments.retrain(run, arm.replace(" ", "-"), **ARMS[arm])
        except monitoring.TrainingStopped as alarm:  # what was best until then is measured
            print(alarm)
            inside = branch(run, arm.replace(" ", "-"), **ARMS[arm])
        evaluate(inside, load_policy(inside.config, inside.best), test, "trained", [MAIN])


def curve(run) -> list[dict]:
    """The rows of all validations, also of a training that an alarm has stopped."""
    files = run.training_log.parent.glob("*/validation.json")
    return [row for _, row in sorted({row["step"]: row for file in files for row in read_json(file)}.items())]


def report(options) -> None:
    runs, found = [reopen(name) for name in options.runs], {}
    for arm, changes in ARMS.items():
        name = arm.replace(" ", "-")
        inside = [branch(run, name, **changes) for run in runs if run.branches.joinpath(name).exists()]
        if not inside:
            continue
        curves = [curve(each) for each in inside]
        ours = [evaluate(each, None, [], "trained", [MAIN])[MAIN] for each in inside]
        theirs = [evaluate(each.parent, None, [], "base", [MAIN])[MAIN] for each in inside]
        half = [next((r["step"] for r in rows if r["accuracy"] >= rows[0]["accuracy"] + HALF), None) for rows in curves]
        found[arm] = {
            "seeds": [each.config.seed for each in inside],
            "trained, less base": over_seeds(ours, theirs),
            "steps to half of the gain": half,
            "mean validation accuracy": [float(np.mean([row["accuracy"] for row in rows])) for rows in curves],
            "last validation accuracy": [rows[-1]["accuracy"] for rows in curves],
            "last call rate": [rows[-1]["look/call_rate"] for rows in curves],
        }
        d = found[arm]["trained, less base"]
        print(f"{arm}: {100 * d['difference']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f}), half by {half}")
    write_json(PROJECT / "results" / options.file, found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("train")
    made.add_argument("--name", required=True)
    made.add_argument("--seed", type=int, required=True)
    made.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS][:4])
    made.add_argument("--model", default="embedded")
    made.add_argument("--every", type=int, default=5, help="steps between two looks at the validation set")
    made.set_defaults(function=train)
    shown = commands.add_parser("report")
    shown.add_argument("runs", nargs="+")
    shown.add_argument("--file", default="gates.json")
    shown.set_defaults(function=report)
    options = parser.parse_args()
    options.function(options)
