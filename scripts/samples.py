"""When to look, learned from fewer or more samples, in another order, with another scaling of rewards; by seed.

    python scripts/samples.py train --name samples --arms "160, none" "160, group" --seeds 0 1
    python scripts/samples.py report samples

`train` makes a run of the profile `rule` under runs/ and in it a branch for each arm and seed, which differs from the
first arm of notebook 07 in what its name says; `report` writes what all runs named hold into results/samples.json.
"""

import argparse

from mags_kit import evaluate, experiments, load_policy, open_run, read_json, read_samples, reopen, write_json
from mags_kit.evaluation import strategies
from mags_kit.evaluation.conditions import MAIN
from mags_kit.evaluation.tables import points
from mags_kit.run import PROJECT, branch, branch_name

ARMS = {f"{n}, {scale}": {"curated": n, "scale_rewards": scale} for n in (10, 160) for scale in ("none", "group")}
ARMS |= {"40, batch": {"scale_rewards": "batch"}}
ARMS |= {"40, easy first": {"curriculum": "easy_first", "stage_steps": [20, 40]}}
SEEDS = range(5)
COST = experiments.LOOK_COST


def settings(run, arm: str) -> dict:
    return next(iter(experiments.arms(run.config).values())) | ARMS[arm]


def answers(inside) -> list:
    policy = load_policy(inside.config, inside.adapter(f"stage {len(inside.config.stage_steps)}"))
    return evaluate(inside, policy, read_samples(inside.samples("test")), "last", [MAIN])[MAIN]


def train(options) -> None:
    run = open_run("rule", options.name)
    experiments.curate(run)
    experiments.free_to_look(run)
    for seed in options.seeds:
        for arm in options.arms:
            inside = experiments.retrain(run, branch_name(seed, {"arm": arm}), seed=seed, **settings(run, arm))
            row = strategies.row([answers(inside)], COST)
            print(arm, seed, {name: round(row[name], 3) for name in row if name != "each"}, flush=True)


def report(options) -> None:
    runs, found = [reopen(name) for name in options.runs], {}
    base = experiments.free_to_look(runs[0])
    best = base[strategies.best_constant(base, COST)]
    for arm in ARMS:
        inside = {}
        for run in runs:
            for seed in SEEDS:
                name = branch_name(seed, {"arm": arm})
                if run.branches.joinpath(name).exists():
                    inside[seed] = branch(run, name, seed=seed, **settings(run, arm))
        if not inside:
            continue
        played = [answers(each) for each in inside.values()]
        logs = [[row for row in read_json(each.training_log)["log"] if "reward" in row] for each in inside.values()]
        found[arm] = strategies.row(played, COST, best) | {
            "seeds": list(inside),
            "looks, small and large, by seed": [
                [row["looks, small"], row["looks, large"]] for row in (strategies.row([t], COST) for t in played)
            ],
            "reward of the last ten steps": [sum(row["reward"] for row in log[-10:]) / 10 for log in logs],
        }
        each = [round(earned, 3) for earned in found[arm]["each"]]
        print(f"{arm}: {each}, less the best constant {points(found[arm]['less the best constant'])}")
    write_json(PROJECT / "results" / "samples.json", found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = commands.add_parser("train")
    made.add_argument("--name", default="samples")
    made.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    made.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=[0, 1])
    made.set_defaults(function=train)
    shown = commands.add_parser("report")
    shown.add_argument("runs", nargs="+")
    shown.set_defaults(function=report)
    options = parser.parse_args()
    options.function(options)
