"""What RL adds to several bases, each with three seeds, under “Look twice.”

    python scripts/bases.py shipped=embedded another=runs/base/base

Each base has a run of the profile `cpu` under runs/, by the name that it is given here, with 600 test questions that
the default run does not read; what is done is not done again. Writes results/bases.json; its intervals are for other
questions and other bases.
"""

import argparse

import numpy as np

from mags_kit import evaluate, experiments, load_policy, open_run, read_samples, write_json
from mags_kit.config import PROFILES
from mags_kit.evaluation.conditions import CONSTANT, MAIN, ONE, ORACLE, grid
from mags_kit.evaluation.statistics import clusters_of, two_way
from mags_kit.method.metrics import right
from mags_kit.run import PROJECT, seeds

BASE, TRAINED = (ONE, MAIN, ORACLE, *CONSTANT.values()), (ONE, MAIN, ORACLE)
BEST = "best constant"  # of the base, on these same questions, which favours it
# Name -> what is compared with what, each a checkpoint and a condition
DIFFERENCES = {
    "RL": (("trained", MAIN), ("base", MAIN)),
    "RL over the best constant": (("trained", MAIN), ("base", BEST)),
    "second round": (("trained", MAIN), ("trained", ONE)),
    "true region over RL's own": (("trained", ORACLE), ("trained", MAIN)),
}


def answers(name: str, model: str) -> list[dict]:
    """For each seed the answers of both checkpoints by condition."""
    run = open_run("cpu", name, {"test": 900, "other_seeds": [1, 2], "model": model})
    experiments.curate(run)
    experiments.train(run)
    test, found = read_samples(run.samples("test"))[PROFILES["cpu"].test :], []
    names = [name for name in grid(run.config) if name in BASE] + [ORACLE]
    base = evaluate(run, load_policy(run.config), test, "base", names)
    base[BEST] = max((base[name] for name in CONSTANT.values() if name in base), key=lambda t: right(t).mean())
    for seed in seeds(run.config):
        inside = experiments.seed_branch(run, seed)
        trained = evaluate(inside, load_policy(inside.config, inside.best), test, "trained", TRAINED)
        found.append({"base": base, "trained": trained})
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bases", nargs="+", metavar="NAME=MODEL", help="`embedded`, or a folder of `make base`")
    bases = {name: answers(name, model) for name, model in (each.split("=") for each in parser.parse_args().bases)}
    found = {}
    for name, each in bases.items():
        shares = [{c: {n: float(right(t).mean()) for n, t in of[c].items()} for c in of} for of in each]
        by_seed = {condition: [of["trained"][condition] for of in shares] for condition in TRAINED}
        found[name] = {"base": shares[0]["base"], "trained": by_seed}
    clusters = clusters_of(next(iter(bases.values()))[0]["base"][MAIN])  # the same questions for all
    differences = {}
    for what, pair in DIFFERENCES.items():
        played = [[[right(of[c][name]) * 1.0 for c, name in pair] for of in each] for each in bases.values()]
        ours, theirs = np.moveaxis(np.array(played), 2, 0)  # (bases, seeds, N) each
        gains = ours - theirs
        over = two_way(gains.mean(1), clusters)
        over["bases"] = over.pop("seeds")
        differences[what] = over | {"each": gains.mean(2).tolist()}
        d, low, high = (100 * over[key] for key in ("difference", "low", "high"))
        by_base = (100 * gains.mean(2)).round(1).tolist()
        print(f"{what}: {d:+.1f} ({low:+.1f} to {high:+.1f}); by base and seed {by_base}")
    write_json(PROJECT / "results" / "bases.json", {"bases": found, "differences": differences})
