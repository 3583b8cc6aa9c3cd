"""Training and evaluation of a run folder in several processes: `accelerate launch -m mags_kit.launch train …`.

What the cells of notebooks 02 and 03 that take long do in one process. The notebooks then find it done.
"""

import argparse

from mags_kit import evaluation, processes, training
from mags_kit.config import PROFILES, parse_settings
from mags_kit.curriculum import stages
from mags_kit.policy import load_policy
from mags_kit.records import read_samples
from mags_kit.runs import Run, open_run, run_folder


def train(run: Run) -> None:
    samples, validation = (read_samples(run.file("data", f"{name}.jsonl")) for name in ("curated", "validation"))
    training.train(run, samples, validation, stages(samples, run.config))


def evaluate(run: Run) -> None:
    test, best = read_samples(run.file("data", "test.jsonl")), run.file("training", "best")
    for moment, adapter in {"before": run.config.adapter, "after": best}.items():
        if moment == "before" or best.exists():
            evaluation.evaluate(run, load_policy(run.config, adapter), test, moment)


JOBS = {"train": train, "evaluate": evaluate}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train or evaluate a run whose data notebook 01 has made.")
    parser.add_argument("jobs", choices=JOBS, nargs="+", help="one after the other")
    parser.add_argument("--profile", default="cpu", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--name", default="", help="run folder under runs/; by default the profile's name")
    parser.add_argument("--set", default="", help="the run's settings as YAML, e.g. '{seed: 1}'")
    arguments = parser.parse_args(arguments)
    try:
        folder = run_folder(arguments.name or arguments.profile)
        if not folder.joinpath("data", "curated.jsonl").exists():
            raise ValueError(f"{folder} has no data/curated.jsonl; make it with `make curate` and the same settings")
        run = open_run(arguments.profile, arguments.name, parse_settings(arguments.set))
        for job in arguments.jobs:
            JOBS[job](run)
    except ValueError as error:
        raise SystemExit(f"mags_kit: {error}") from None
    processes.leave()


if __name__ == "__main__":
    main()
