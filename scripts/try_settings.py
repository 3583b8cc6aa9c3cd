"""Train with some settings changed, and measure that on scenes that nothing else uses.

    make curate PROFILE=reference         # once, unless `make reference` has run
    .venv/bin/python scripts/try_settings.py --seed 1 --set '{beta: 0.0, stage_steps: [10, 20]}'

So settings are chosen without a look at the test questions. It prints the accuracy of two rounds with 95% intervals,
and where round 2 says that it sees the white dot, which RL can bend. The training becomes a branch of runs/reference.
About four minutes on two cores.
"""

import argparse
import re

import pandas as pd

from mags_kit import curriculum, evaluation, rewards, training
from mags_kit.config import load_config, parse_settings
from mags_kit.data import scene_samples
from mags_kit.policy import load_policy
from mags_kit.records import read_samples, read_trajectories
from mags_kit.rollout import magnifier_for, rollout
from mags_kit.runs import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with some settings changed; measure it on fresh scenes.")
    parser.add_argument("--set", default="{}", help="settings as YAML")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        run, changes = open_run("reference"), parse_settings(arguments.set) | {"seed": arguments.seed}
        measured = run.file("trajectories", "pool.jsonl")
        if not measured.exists():
            raise ValueError(f"{measured} is missing; `make curate PROFILE=reference` makes it")
        load_config("reference", changes)
    except ValueError as error:
        raise SystemExit(f"try_settings: {error}") from None
    rates = curriculum.solve_rates(read_trajectories(measured), lambda t: rewards.answer(t) == 1)
    name = "try-" + re.sub(r"[^\w.]+", "-", str(changes)).strip("-")
    inside, adapter = training.retrain(run, name, read_samples(run.file("data", "pool.jsonl")), rates, **changes)
    policy, folder = load_policy(inside.config, adapter), inside.file("fresh")
    samples = scene_samples("validation", 450, folder, first=100_000)
    made = rollout(policy, samples, folder, inside.config, magnifier_for(inside.config, policy, run.cache))
    found = {"all": evaluation.accuracy(made)} | evaluation.summary(made)["families"]
    print(pd.DataFrame(found).T.round(3).to_string())
    replies = pd.Series([t.replies[-1] for t in made if t.sample.family == "relation"])
    print(replies.str.extract(r"(?P<white>white \w+)").value_counts().to_string())


if __name__ == "__main__":
    main()
