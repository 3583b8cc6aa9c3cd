"""What is done with a run: its data chosen, trained, measured; and the same again with other seeds and settings.

Every part is stored as it is done and not done again. The notebooks show what these functions make.
"""

import re
from itertools import product
from pathlib import Path

from mags_kit import steps
from mags_kit.config import BENCHMARKS, SPARSE, load_config, profile_of
from mags_kit.data import sets
from mags_kit.method import curriculum, processes, training
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import repeat, rollout
from mags_kit.records import (
    Sample,
    Trajectory,
    read_jsonl,
    read_samples,
    read_trajectories,
    write_json,
    write_jsonl,
)
from mags_kit.viz import charts, figures
from mags_kit.report import page
from mags_kit.evaluation.conditions import MAIN, ONE, grid, step
from mags_kit.evaluation.evaluate import Results, before_and_after, evaluate, examples, metrics_alone
from mags_kit.evaluation.analysis import findings, seeded_conditions
from mags_kit.evaluation.statistics import accuracy, over_seeds, seeds_difference
from mags_kit.run import Run, branch, branch_name, seeds, variants

FRESH = 450  # validation scenes that nothing else uses, to try settings on
FIRST_FRESH = 100_000  # the seed that they begin with


def measure_pool(run: Run, agent: Agent) -> dict[str, float]:
    """Sample id -> solve rate of each candidate, from sampled rollouts in two rounds.

    Each process draws with a seed of its own: with one for all, a candidate's rollouts, dealt out in turn, would be
    copies of each other. So another number of processes draws other rollouts; what they estimate is the same.
    """
    import torch

    if processes.main_says(steps.start, steps.pool(run)):
        here = processes.here()
        torch.manual_seed(run.config.seed * here.num_processes + here.process_index)
        candidates = repeat(read_samples(run.samples("pool")), run.config.solve_rollouts)
        rollouts = rollout(agent, candidates, temperature=run.config.temperature, condition="pool")
        if processes.here().is_main_process:
            write_jsonl(run.trajectories("pool"), rollouts)
        processes.here().wait_for_everyone()
    return measured_rates(run)


def measured_rates(run: Run) -> dict[str, float]:
    """Those that `measure_pool` has stored."""
    path = run.trajectories("pool")
    if not path.exists():
        raise ValueError(f"{path} is missing; `make curate` with the same settings makes it")
    return curriculum.solve_rates(read_trajectories(path))


def curate(run: Run, rates: dict[str, float]) -> list[Sample]:
    """Choose the training samples from the measured pool, and list them."""
    if processes.main_says(steps.start, steps.curated(run)):
        config = run.config
        chosen = curriculum.choose(
            read_samples(run.samples("pool")), rates, config.curated, config.seed, config.selection
        )
        if processes.here().is_main_process:
            write_jsonl(run.samples("curated"), chosen)
        processes.here().wait_for_everyone()
    return read_samples(run.samples("curated"))


def train(run: Run) -> Path:
    """Train on the chosen samples, stage by stage, and return the folder of the best adapter."""
    if not processes.main_says(steps.start, steps.training(run)):
        return run.best
    samples, validation = (read_samples(run.samples(name)) for name in ("curated", "validation"))
    return training.train(run, validation, curriculum.stages(samples, run.config))


def retrain(run: Run, name: str, **changes) -> Run:
    """A branch with some settings changed: it chooses from the same measured pool and trains again."""
    inside = branch(run, name, **changes)
    curate(inside, measured_rates(run))
    train(inside)
    return inside


def seed_branch(run: Run, seed: int) -> Run:
    """The run with another seed, trained."""
    return run if seed == run.config.seed else retrain(run, branch_name(seed, {}), seed=seed)


def after_each_seed(run: Run) -> dict[int, Results]:
    """The answers after RL with each seed, under `seeded_conditions`. All seeds share the candidates and questions."""
    test, results, names = read_samples(run.samples("test")), {}, seeded_conditions(run.config)
    for seed in seeds(run.config):
        inside = seed_branch(run, seed)
        results[seed] = evaluate(inside, load_policy(inside.config, inside.best), test, "after", names)
    return results


def pooled_differences(before: Results, after: dict[int, Results]) -> dict[str, dict[str, float]]:
    """All seeds together: the mean over seeds for each question, then over questions; `low` and `high` are for other
    questions, `two-way low` and `two-way high` for other questions and other seeds."""
    main, one = ([results[name] for results in after.values()] for name in (MAIN, ONE))
    return {
        "after RL, less before": _over_seeds(main, [before[MAIN]] * len(main)),
        "two rounds, less one round (after RL)": _over_seeds(main, one),
    }


def _over_seeds(ours: list[list[Trajectory]], theirs: list[list[Trajectory]]) -> dict[str, float]:
    both = over_seeds(ours, theirs)
    return seeds_difference(ours, theirs) | {"two-way low": both["low"], "two-way high": both["high"]}


def after_each_variant(run: Run) -> dict[str, list[Trajectory]]:
    """Variant -> the test set's trajectories after RL, two rounds with super-resolution, a list per seed."""
    test = read_samples(run.samples("test"))
    trajectories = {variant: [] for variant in variants(run.config)}
    for seed, (variant, changes) in product(seeds(run.config), variants(run.config).items()):
        inside = retrain(run, branch_name(seed, changes), seed=seed, **changes) if changes else seed_branch(run, seed)
        policy = load_policy(inside.config, inside.best)
        trajectories[variant].append(evaluate(inside, policy, test, "after", [MAIN])[MAIN])
    return trajectories


def ablations(run: Run, trajectories: dict[str, list]) -> dict[str, dict]:
    """`ablations.json`: each variant's accuracy by seed, and what it differs from the first of its regime, all seeds
    together, with `two-way` intervals for other questions and other seeds."""
    sparse = [variant for variant in trajectories if variant.endswith(SPARSE.format(""))]
    first = {variant: sparse[0] if variant in sparse else next(iter(trajectories)) for variant in trajectories}
    return {
        variant: {
            "accuracy": {
                f"seed {seed}": accuracy(one)["accuracy"] for seed, one in zip(seeds(run.config), each, strict=True)
            },
            "less the curriculum": _over_seeds(each, trajectories[first[variant]]),
        }
        for variant, each in trajectories.items()
    }


def try_settings(run: Run, changes: dict) -> list[Trajectory]:
    """Train with some settings changed, and answer scenes that nothing else uses: so settings are chosen without a
    look at the test questions. The training becomes a branch of the run."""
    load_config("reference", changes)
    name = "try-" + re.sub(r"[^\w.]+", "-", str(changes)).strip("-")
    inside = retrain(run, name, **changes)
    agent = Agent.of(inside, load_policy(inside.config, inside.best))
    folder = inside.path / "fresh"
    samples = sets.scene_samples("validation", FRESH, folder, first=FIRST_FRESH)
    return rollout(Agent(agent.policy, agent.magnifier, agent.config, folder), samples)


def curation(run: Run) -> list[Sample]:
    """All of notebook 01 that takes long: the sets, the candidates' solve rates, the choice."""
    _prepare(run)
    return curate(run, measure_pool(run, Agent.of(run, load_policy(run.config))))


def _prepare(run: Run) -> None:
    if processes.here().is_main_process:
        sets.prepare(run)
    processes.here().wait_for_everyone()


def alone(model: str, own: str = "", benchmarks: tuple[str, ...] = (), questions: int = 0) -> tuple[str, str, dict]:
    """Profile, name and settings of a run that measures a model and trains nothing: it has a test set only.

    The questions are the first ones of the user's `own` JSONL, or drawn from the benchmarks; 0: all of the JSONL, the
    profile's number from the benchmarks. The profile is the model's own, or `paper`.
    """
    settings = {"model": model, "pool": 0, "curated": 0, "validation": 0, "stage_steps": [0]}
    if own:
        rows = len(list(read_jsonl(own))) if Path(own).is_file() else 0  # a missing file is refused with the settings
        settings |= {"own": own, "data": "scenes", "test": questions or max(1, rows)}
    else:
        settings |= {"data": "benchmarks", "benchmarks": list(benchmarks or BENCHMARKS)}
        settings |= {"test": questions} if questions else {}
    named = f"evaluate-{Path(model).name}-{Path(own).stem if own else '-'.join(benchmarks)}"
    return profile_of(model), re.sub(r"[^\w.-]+", "-", named), settings


def measure_alone(run: Run) -> dict:
    """`metrics.json` of a run without training: its test set under every condition. With figures and a report."""
    _prepare(run)
    policy = None if processes.main_says(_answered, run) else load_policy(run.config, run.config.adapter)
    results = evaluate(run, policy, read_samples(run.samples("test")), "alone")
    found = metrics_alone(results)
    if processes.here().is_main_process:
        write_json(run.metrics, found)
        write_json(run.findings, findings({"alone": results}, run.config))
        report_alone(run, found, results[MAIN])
    processes.here().wait_for_everyone()
    return found


def _answered(run: Run) -> bool:
    return all(step(run, "alone", name).state()[0] == steps.DONE for name in grid(run.config))


def report_alone(run: Run, found: dict, trajectories: list[Trajectory]) -> None:
    """The figures of `measure_alone`, and the page that holds them."""
    import matplotlib.pyplot as plt

    title = f"Accuracy on {len(trajectories)} questions ({run.config.model_name})"
    drawn = {"accuracy": charts.show_results(found, title)}
    for number, trajectory in enumerate(examples(trajectories), 1):
        drawn[f"trajectory_{number}"] = figures.show_trajectory(trajectory, run.data, run.views)
    for name, figure in drawn.items():
        figures.save(figure, run, name)
        plt.close(figure)
    page.write(run, ())


PARTS = {
    "curate": curation,
    "train": train,
    "evaluate": before_and_after,
}  # what notebooks 01 to 03 spend their time on
