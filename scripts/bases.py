"""What RL adds to several bases, each with three seeds, under “Look twice.”

    python scripts/bases.py train --name shipped
    python scripts/bases.py train --name another --model runs/base/base
    python scripts/bases.py report shipped another

`train` makes a run of the profile `cpu` under runs/, with 600 test questions that the default run does not read;
`report` writes results/bases.json. Its intervals are for other questions and other bases.
"""

import argparse

import numpy as np

from mags_kit import evaluate, experiments, load_policy, open_run, read_samples, reopen, write_json
from mags_kit.evaluation.conditions import CONSTANT, MAIN, ONE, ORACLE, grid
from mags_kit.evaluation.statistics import clusters_of, matched, two_way
from mags_kit.method.metrics import right
from mags_kit.run import PROJECT, seeds

DEFAULT = 300  # test questions of the default run
BASE, TRAINED = (ONE, MAIN, ORACLE, *CONSTANT.values()), (ONE, MAIN, ORACLE)
# Name -> what is compared with what, each a checkpoint and a condition; `constant`: the base's best on these questions
DIFFERENCES = {
    "RL": (("trained", MAIN), ("base", MAIN)),
    "RL over the best constant": (("trained", MAIN), ("base", "constant")),
    "second round": (("trained", MAIN), ("trained", ONE)),
    "true region over RL's own": (("trained", ORACLE), ("trained", MAIN)),
}


def train(options) -> None:
    settings = {"test": 900, "other_seeds": [1, 2], "model": options.model}
    run = open_run("cpu", options.name, settings)
    experiments.curate(run)
    experiments.train(run)
    answers(run)


def answers(run) -> list[dict]:
    """For each seed the answers of both checkpoints by condition; what is stored is not made again."""
    test, found = read_samples(run.samples("test"))[DEFAULT:], []
    names = [name for name in grid(run.config) if name in BASE] + [ORACLE]
    base = evaluate(run, load_policy(run.config), test, "base", names)
    for seed in seeds(run.config):
        inside = experiments.seed_branch(run, seed)
        trained = evaluate(inside, load_policy(inside.config, inside.best), test, "trained", TRAINED)
        found.append({"base": base, "trained": trained})
    return found


def constant(base: dict) -> str:
    return max(filter(base.get, CONSTANT.values()), key=lambda name: right(base[name]).mean())


def gain(each: dict, ours: tuple, theirs: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Ours less theirs on the questions that both have, `(N,)`, and which of them share an image."""
    pair = [each[c][constant(each[c]) if name == "constant" else name] for c, name in (ours, theirs)]
    mine, other = matched(*pair)
    return right(mine) * 1.0 - right(other), clusters_of(mine)


def report(options) -> None:
    bases = {name: answers(reopen(name)) for name in options.runs}
    found = {
        name: {
            "base": {condition: float(right(t).mean()) for condition, t in each[0]["base"].items()},
            "trained": {name: [float(right(of["trained"][name]).mean()) for of in each] for name in TRAINED},
        }
        for name, each in bases.items()
    }
    differences = {}
    for name, pair in DIFFERENCES.items():
        gains = np.array([[gain(of, *pair)[0] for of in each] for each in bases.values()])  # (bases, seeds, N)
        over = two_way(gains.mean(1), gain(next(iter(bases.values()))[0], *pair)[1])
        over["bases"] = over.pop("seeds")
        differences[name] = over | {"each": gains.mean(2).tolist()}
        d, low, high = (100 * over[key] for key in ("difference", "low", "high"))
        by_base = (100 * gains.mean(2)).round(1).tolist()
        print(f"{name}: {d:+.1f} ({low:+.1f} to {high:+.1f}); by base and seed {by_base}")
    write_json(PROJECT / "results" / "bases.json", {"bases": found, "differences": differences})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("train")
    made.add_argument("--name", required=True)
    made.add_argument("--model", default="embedded", help="a folder that `make base` made")
    made.set_defaults(function=train)
    shown = commands.add_parser("report")
    shown.add_argument("runs", nargs="+")
    shown.set_defaults(function=report)
    options = parser.parse_args()
    options.function(options)
