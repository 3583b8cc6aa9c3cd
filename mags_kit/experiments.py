"""The steps of an experiment on a run: curate, train, evaluate, and the same with other seeds and settings.

Each result is stored when it is made and not made again. The notebooks show what these functions return.
"""

import re
from itertools import product
from pathlib import Path

from mags_kit import records, steps
from mags_kit.config import BENCHMARKS, WEIGHTS, Config, profile_of
from mags_kit.data import sets
from mags_kit.evaluation import pass_at_k
from mags_kit.evaluation.analysis import findings, seeded_conditions
from mags_kit.evaluation.conditions import CONSTANT, MAIN, grid
from mags_kit.evaluation.evaluate import Results, evaluate, examples, metrics
from mags_kit.evaluation.statistics import accuracy, over_seeds
from mags_kit.method import curriculum, processes, rewards, training
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.protocol import CHOOSE_FIRST
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, read_jsonl, read_samples, read_trajectories, write_json, write_jsonl
from mags_kit.report import page
from mags_kit.run import Run, branch, branch_name, seeds, variants
from mags_kit.viz import charts, draw


def curate(run: Run) -> list[Sample]:
    """All of notebook 01 that takes long, in one or several processes: the data, solve rates, training samples."""
    processes.main_does(sets.prepare, run)
    return choose_samples(run, measure_pool(run))


def measure_pool(run: Run, agent: Agent | None = None) -> dict[str, float]:
    """Sample id -> solve rate of each candidate, from sampled two-round rollouts of the base policy.

    Each process draws with a seed of its own, or a candidate's rollouts, dealt out in turn, would be copies of each
    other. So another number of processes draws other rollouts; the expected rates are the same.
    """
    if processes.main_says(steps.start, steps.pool(run)):
        import torch

        here = processes.here()
        torch.manual_seed(run.config.seed * here.num_processes + here.process_index)
        pool = read_samples(run.samples("pool"))
        candidates = [sample for sample in pool for _ in range(run.config.solve_rollouts)]
        agent = agent or Agent.of(run, load_policy(run.config, run.config.adapter))
        rollouts = rollout(agent, candidates, temperature=run.config.temperature, condition="pool")
        processes.main_does(write_jsonl, run.trajectories("pool"), rollouts)
    return curriculum.solve_rates(read_trajectories(run.trajectories("pool")))


def choose_samples(run: Run, rates: dict[str, float]) -> list[Sample]:
    """Choose the training samples from the measured pool, and list them."""
    if processes.main_says(steps.start, steps.curated(run)):
        pool, config = read_samples(run.samples("pool")), run.config
        if config.curated_ids:
            chosen = [curriculum.explained(sample, rates, "; named by the user") for sample in pool]
        else:
            chosen = curriculum.choose(pool, rates, config.curated, config.seed, config.selection)
        if not any(0 < rates[sample.id] < 1 for sample in chosen) and processes.here().is_main_process:
            print("No training sample was solved sometimes, and GRPO learns nothing from answers that are all right or "
                  "all wrong; more candidates (pool), more rollouts (solve_rollouts) or a cold_start may help")
        processes.main_does(write_jsonl, run.samples("curated"), chosen)
    return read_samples(run.samples("curated"))


def train(run: Run) -> Path:
    """Train on the chosen samples, stage by stage, and return the folder of the best adapter."""
    if processes.main_says(steps.start, steps.training(run)):
        if steps.own_rewards(run.config):
            rewards.try_out(run.config.rewards, read_trajectories((run.parent or run).trajectories("pool")))
        samples, validation = (read_samples(run.samples(name)) for name in ("curated", "validation"))
        training.train(run, validation, curriculum.stages(samples, run.config))
    return run.best


def before_and_after(run: Run) -> dict[str, Results]:
    """The test set under every condition, answered by the policy that RL began with and by the best adapter, if any;
    and their pass@k, where it is set."""
    samples = read_samples(run.samples("test"))
    adapters = {"base": run.config.adapter} | ({"trained": run.best} if run.best.exists() else {})
    results = {name: evaluate(run, load_policy(run.config, path), samples, name) for name, path in adapters.items()}
    if run.config.pass_k:
        pass_at_k.measure(run)
    return results


def retrain(run: Run, name: str, **changes) -> Run:
    """A branch with some settings changed: it chooses from the same measured pool and trains again."""
    inside = branch(run, name, **changes)
    choose_samples(inside, measure_pool(run))
    train(inside)
    return inside


def seed_branch(run: Run, seed: int) -> Run:
    """The run with another seed, trained."""
    return run if seed == run.config.seed else retrain(run, branch_name(seed, {}), seed=seed)


def trained_by_seed(run: Run) -> dict[int, Results]:
    """The trained policy's answers with each seed, under `analysis.seeded_conditions`; all seeds share the candidates
    and questions."""
    test, results, names = read_samples(run.samples("test")), {}, seeded_conditions(run.config)
    for seed in seeds(run.config):
        inside = seed_branch(run, seed)
        results[seed] = evaluate(inside, load_policy(inside.config, inside.best), test, "trained", names)
    return results


def trained_by_variant(run: Run) -> dict[str, list[list[Trajectory]]]:
    """Variant -> the trained policy's answers to the test set, two rounds with super-resolution, a list per seed."""
    test, trajectories = read_samples(run.samples("test")), {variant: [] for variant in variants(run.config)}
    for seed, (variant, changes) in product(seeds(run.config), variants(run.config).items()):
        inside = retrain(run, branch_name(seed, changes), seed=seed, **changes) if changes else seed_branch(run, seed)
        policy = load_policy(inside.config, inside.best)
        trajectories[variant].append(evaluate(inside, policy, test, "trained", [MAIN])[MAIN])
    return trajectories


def ablations(run: Run, trajectories: dict[str, list]) -> dict[str, dict]:
    """`ablations.json`: each variant's accuracy by seed, and its difference to the first variant over all seeds,
    with an interval for other questions and other seeds."""
    first = next(iter(trajectories.values()))
    return {
        variant: {
            "accuracy": {f"seed {s}": accuracy(t)["accuracy"] for s, t in zip(seeds(run.config), each, strict=True)},
            "less the curriculum": over_seeds(each, first),
        }
        for variant, each in trajectories.items()
    }


def catch_up(run: Run, notebook: str) -> None:
    """Make what a notebook reads and those before it have not left yet, so that each can be opened first."""
    if not run.samples("curated").exists():
        curate(run)
    if "07" > notebook > "03":
        train(run)
    if "07" > notebook > "04" and not run.metrics.exists():
        before_and_after(run)


LOOK_COST = 0.2  # in units of a right answer
ORDERS = {"sees first": {}, "chooses first": {"free": CHOOSE_FIRST}}  # of a rationale, and the prompts that ask for it


def arms(config: Config) -> dict[str, dict]:
    """What notebook 07 trains, name -> settings changed: rewards for answer and form less the cost of a look, unscaled
    or scaled by group, where the policy says what it sees and then how it looks, and the other way round; the first of
    these with other costs, too. ValueError for a model that has no words for ways of looking."""
    if config.prompt_style != "compact":
        raise ValueError(f"model={config.model!r}; expected `embedded`, or another model of `make base`")

    def settings(cost: float = LOOK_COST, **changes) -> dict:
        paid = dict.fromkeys(WEIGHTS, 0.0) | {"answer": 1.0, "format": 0.2, "look_cost": cost}
        return {"must_look": False, "rewards": paid, **changes}

    rows = {
        f"{order}, {name}": settings(scale_rewards=scale, prompts=prompts)
        for order, prompts in ORDERS.items() for name, scale in {"unscaled": "none", "scaled by group": "group"}.items()
    }
    return rows | {f"a look costs {cost:g}": settings(cost) for cost in config.look_costs if cost != LOOK_COST}


def trained_arms(run: Run) -> dict[str, list[tuple[Run, list[Trajectory]]]]:
    """Arm -> for each seed its branch and what the adapter at the end of training, not the best one, answers to the
    test set; with other costs for the run's own seed alone."""
    test, made = read_samples(run.samples("test")), {}
    for arm, changes in arms(run.config).items():
        for seed in seeds(run.config) if changes["rewards"]["look_cost"] == LOOK_COST else [run.config.seed]:
            inside = retrain(run, branch_name(seed, {"arm": arm}), seed=seed, **changes)
            policy = load_policy(inside.config, inside.adapter(f"stage {len(inside.config.stage_steps)}"))
            made.setdefault(arm, []).append((inside, evaluate(inside, policy, test, "last", [MAIN])[MAIN]))
    return made


def free_to_look(run: Run) -> Results:
    """What the base answers to the test set where it need not look: by itself in each order of words, and as each
    constant."""
    test, results = read_samples(run.samples("test")), {}
    for order, prompts in ORDERS.items():
        inside = branch(run, branch_name(run.config.seed, {"base": order}), must_look=False, prompts=prompts)
        names = [MAIN, *(() if prompts else CONSTANT.values())]
        found = evaluate(inside, load_policy(inside.config, run.config.adapter), test, "base", names)
        results |= {f"by itself, {order}": found.pop(MAIN), **found}
    return results


def alone(model: str, own: str = "", benchmarks: tuple[str, ...] = (), questions: int = 0) -> tuple[str, str, dict]:
    """Profile, name and settings of a run that evaluates a model and trains nothing: it has a test set only.

    The questions are the first ones of the user's `own` JSONL, or drawn from the benchmarks; 0: all of the JSONL, the
    profile's number from the benchmarks. The profile is the model's own, or `paper`.
    """
    settings = {"model": model, "pool": 0, "curated": 0, "validation": 0, "stage_steps": [0]}
    if own:
        rows = len(read_jsonl(own)) if Path(own).is_file() else 0  # a missing file is refused with the settings
        settings |= {"own": own, "data": "scenes", "test": questions or max(1, rows)}
    else:
        settings |= {"data": "benchmarks", "benchmarks": list(benchmarks or BENCHMARKS)}
        settings |= {"test": questions} if questions else {}
    named = f"evaluate-{Path(model).name}-{Path(own).stem if own else '-'.join(benchmarks)}"
    return profile_of(model), re.sub(r"[^\w.-]+", "-", records.file_name(named)), settings


def measure_alone(run: Run) -> dict:
    """`metrics.json` of a run without training: its test set under every condition, with figures and a report."""
    processes.main_does(sets.prepare, run)
    answered = all(steps.answers(run, "alone", name).state()[0] == steps.DONE for name in grid(run.config))
    policy = None if processes.main_says(bool, answered) else load_policy(run.config, run.config.adapter)
    results = evaluate(run, policy, read_samples(run.samples("test")), "alone")
    found = metrics({"alone": results})
    processes.main_does(_report_alone, run, found, results)
    return found


def _report_alone(run: Run, found: dict, results: Results) -> None:
    write_json(run.metrics, found)
    write_json(run.findings, findings({"alone": results}, run.config))
    trajectories = results[MAIN]
    title = f"Accuracy on {len(trajectories)} questions ({run.config.model_name})"
    figure = charts.show_results(found, title)
    draw.save(figure, run, "accuracy", "Accuracy of each condition, with its 95% interval.")
    for number, trajectory in enumerate(examples(trajectories), 1):
        caption = f"Trajectory {number}: the image with the chosen regions, the magnified views and the replies."
        draw.save(draw.sheet({"": trajectory}, run.data, run.views), run, f"trajectory_{number}", caption)
    page.write(run, ())


# What notebooks 01 to 03 spend their time on, for the command line
PARTS = {"curate": curate, "train": train, "evaluate": before_and_after}
