"""Looking under a cost: what makes it die, what keeps the rule alive. Trainings that differ in one setting, by seed.

    python scripts/looking.py train --name when --model runs/base/base --arms "group:0" "none:0"
    python scripts/looking.py report when

`train` makes a run under runs/ and in it a branch for each arm and seed; each is measured, the last adapter and not the
one with the best accuracy, on fresh validation scenes. `report` writes into results/.
"""

import argparse
import json
import os

import numpy as np
from strategies import measure, row, show

from mags_kit import Agent, experiments, load_policy, open_run, prepare, read_json, read_trajectories, reopen, rollout
from mags_kit import scene_samples, write_json
from mags_kit.data.scenes import BIG
from mags_kit.evaluation import strategies
from mags_kit.method import metrics
from mags_kit.records import write_jsonl
from mags_kit.run import PROJECT, branch

COST = 0.2
SETTINGS = {
    "must_look": False, "curriculum": "shuffled", "stage_steps": [60], "validation": 72, "validate_every": 20,
    "learning_rate": 1e-3, "test": 12,
    "rewards": {"answer": 1.0, "format": 0.2, "regions": 0.0, "draft": 0.0, "verify": 0.0, "look_cost": COST},
}  # fmt: skip
ARMS = {how: {"scale_rewards": how} for how in ("group", "none", "batch")}
COUNT, FIRST = int(os.environ.get("COUNT", 240)), 60_000  # fresh validation scenes, and the seed of the first


def train(options) -> None:
    run = open_run("cpu", options.name, SETTINGS | {"model": options.model, "pool": options.pool} | options.set)
    prepare(run)
    experiments.measure_pool(run)
    samples = scene_samples("validation", COUNT, run.data, FIRST)
    table = run.path / "strategies.json"
    if not table.exists():
        write_json(table, measure(Agent.of(run, load_policy(run.config)), samples, COST))
        show(read_json(table))
    for arm in options.arms:
        name, seed = arm.rsplit(":", 1)
        label = f"{name.replace(', ', '-').replace(' ', '-')}-seed-{seed}"
        inside = experiments.retrain(run, label, **ARMS[name], seed=int(seed))
        agent = Agent.of(inside, load_policy(inside.config, inside.adapter("stage 1")))
        for condition, rounds in (("free", 2), ("withheld", 1)):
            file = inside.path / f"{condition}.jsonl"
            if not file.exists():
                write_jsonl(file, rollout(agent, samples, rounds=rounds, condition=condition))
        print(arm, {k: v for k, v in outcome(inside).items() if k != "returns"}, flush=True)


def outcome(run) -> dict:
    """What a trained branch does on the fresh scenes, and what it did while it was trained."""
    played, withheld = (read_trajectories(run.path / f"{name}.jsonl") for name in ("free", "withheld"))
    looks = np.array([len(t.looks) for t in played])
    big = np.array([t.sample.meta["size"] in BIG for t in played])
    log = [r for r in read_json(run.training_log)["log"] if "reward" in r]
    calls, rewarded = ([round(float(np.mean([r[key] for r in log[i : i + 10]])), 3) for i in range(0, len(log), 10)]
                       for key in ("tools/call_frequency", "reward"))  # fmt: skip
    return row(played, strategies.returns(played, COST)) | {
        "looks at small": round(float(looks[~big].mean()), 3), "looks at large": round(float(looks[big].mean()), 3),
        "withheld": round(float(metrics.right(withheld).mean()), 3), "calls by ten steps": calls,
        "training reward by ten steps": rewarded, "returns": strategies.returns(played, COST).tolist(),
    }  # fmt: skip


def report(options) -> None:
    found = {}
    for name in options.names:
        found |= summary(reopen(name))
    write_json(PROJECT / "results" / options.file, found)


def summary(run) -> dict:
    """By arm and seed what was measured in a run, and the table of its base."""
    table = read_json(run.path / "strategies.json")
    found = {"base": {name: rows for name, rows in table.items() if name != "its returns"}}
    for arm, changes in ARMS.items():
        stem = arm.replace(", ", "-").replace(" ", "-")
        folders = sorted(run.branches.glob(f"{stem}-seed-*")) if run.branches.exists() else []
        done = [f for f in folders if f.name.rsplit("-seed-")[0] == stem and f.joinpath("withheld.jsonl").exists()]
        for folder in done:
            seed = int(folder.name.rsplit("-", 1)[1])
            each = outcome(branch(run, folder.name, **changes, seed=seed))
            less = np.array(each.pop("returns")) - table["its returns"]
            each["over the best constant"] = round(float(less.mean()), 3)
            each["± over it"] = round(float(1.96 * less.std(ddof=1) / len(less) ** 0.5), 3)
            found.setdefault(arm, {})[f"seed {seed}"] = each
            shown = "looks at small", "looks at large", "return", "over the best constant", "± over it", "accuracy"
            shown += "withheld", "calls by ten steps", "training reward by ten steps"
            print(f"{arm}, seed {seed}:", ", ".join(f"{name} {each[name]}" for name in shown))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("train")
    made.add_argument("--name", required=True)
    made.add_argument("--model", default="embedded")
    made.add_argument("--pool", type=int, default=240)
    made.add_argument("--set", type=json.loads, default={}, help="further settings, as JSON")
    made.add_argument("--arms", nargs="+", default=["group:0", "none:0"], help="ARM:SEED")
    made.set_defaults(function=train)
    shown = commands.add_parser("report")
    shown.add_argument("names", nargs="+")
    shown.add_argument("--file", default="looking.json")
    shown.set_defaults(function=report)
    options = parser.parse_args()
    options.function(options)
