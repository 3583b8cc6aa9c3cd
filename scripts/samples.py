"""When to look, learned from fewer or more samples, in another order, with another scaling of rewards; by seed.

    python scripts/samples.py --arms "160, none" "160, group" --seeds 0 1

Each arm and seed has a branch of a run of the profile `rule`, runs/samples, and differs from the first arm of notebook
07 in what its name says; what is done is not done again. Writes results/samples.json.
"""

import argparse

from mags_kit import evaluate, experiments, load_policy, open_run, read_json, read_samples, write_json
from mags_kit.evaluation import strategies
from mags_kit.evaluation.conditions import MAIN
from mags_kit.evaluation.tables import points
from mags_kit.run import PROJECT, branch_name

ARMS = {f"{n}, {scale}": {"curated": n, "scale_rewards": scale} for n in (10, 160) for scale in ("none", "group")}
ARMS |= {"40, batch": {"scale_rewards": "batch"}}
ARMS |= {"40, easy first": {"curriculum": "easy_first", "stage_steps": [20, 40]}}
COST = experiments.LOOK_COST


def trained(run, arm: str, seed: int) -> tuple[list, list[dict]]:
    """The answers of the adapter at the end of a training to the test set, and the training's log."""
    changes = next(iter(experiments.arms(run.config).values())) | ARMS[arm]
    inside = experiments.retrain(run, branch_name(seed, {"arm": arm}), seed=seed, **changes)
    policy = load_policy(inside.config, inside.adapter(f"stage {len(inside.config.stage_steps)}"))
    test = read_samples(inside.samples("test"))
    log = [row for row in read_json(inside.training_log)["log"] if "reward" in row]
    return evaluate(inside, policy, test, "last", [MAIN])[MAIN], log


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    options, run, found = parser.parse_args(), open_run("rule", "samples"), {}
    experiments.curate(run)
    base = experiments.free_to_look(run)
    best = base[strategies.best_constant(base, COST)]
    for arm in options.arms:
        played, logs = zip(*(trained(run, arm, seed) for seed in options.seeds), strict=True)
        rows = [strategies.row([each], COST) for each in played]
        found[arm] = strategies.row(list(played), COST, best) | {
            "seeds": options.seeds,
            "looks, small and large, by seed": [[row["looks, small"], row["looks, large"]] for row in rows],
            "reward of the last ten steps": [sum(row["reward"] for row in log[-10:]) / 10 for log in logs],
        }
        earned, less = found[arm]["each"], found[arm]["less the best constant"]
        print(f"{arm}: {[round(each, 3) for each in earned]}, less the best constant {points(less)}", flush=True)
    write_json(PROJECT / "results" / "samples.json", found)
