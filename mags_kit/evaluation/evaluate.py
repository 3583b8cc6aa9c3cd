"""Evaluation: the test set answered under each condition, and the metrics of the answers."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd

from mags_kit import steps
from mags_kit.config import Config
from mags_kit.evaluation.conditions import ALL, CONSTANT, MAIN, ONE, ConditionedEpisode, grid
from mags_kit.evaluation.statistics import accuracy, paired_difference
from mags_kit.method import processes, rewards
from mags_kit.method.episode import Agent
from mags_kit.method.metrics import BROKE, CHANGES, KEPT_RIGHT, KEPT_WRONG, NO_DRAFT, REPAIRED
from mags_kit.method.metrics import change, grounding, right
from mags_kit.method.policy import Policy
from mags_kit.method.rollout import first_replies, imposed, rollout
from mags_kit.records import Sample, Trajectory, read_json, read_trajectories, write_json, write_jsonl
from mags_kit.run import Run

Results = dict[str, list[Trajectory]]  # by condition


def evaluate(
    run: Run, policy: Policy, samples: list[Sample], checkpoint: str, conditions: Iterable[str] = ()
) -> Results:  # fmt: skip
    """The greedy trajectories of a policy by condition: of those named, by default of the run's whole grid. What is
    stored is not made again, and round 1 of two is made once for all conditions."""

    @cache
    def firsts(how: str) -> list[list[int]]:
        agent, title = Agent.of(run, policy), f"{checkpoint}, round 1"
        return imposed(agent, samples, firsts(""), how, title) if how else first_replies(agent, samples, title)

    results = {}
    for name in conditions or grid(run.config, checkpoint):
        wanted = steps.answers(run, checkpoint, name)
        if processes.main_says(steps.start, wanted):
            began = time.perf_counter()
            trajectories = answers(run, policy, samples, f"{checkpoint}, {name}", name, firsts)
            seconds = time.perf_counter() - began
            processes.main_does(note_costs, run, checkpoint, name, trajectories, seconds, policy.factor)
            processes.main_does(write_jsonl, wanted.outputs[0], [scored(t, run.config) for t in trajectories])
        if stored := read_trajectories(wanted.outputs[0]):  # none where a condition needs boxes and no sample has any
            results[name] = stored
    return results


def answers(run, policy, samples, label: str, name: str, firsts: Callable) -> list[Trajectory]:
    """One trajectory a sample under a condition; where it shows the true region, only of samples with boxes.
    `firsts(how)` are the replies of round 1 that conditions of two rounds share."""
    condition, agent = ALL[name], Agent.of(run, policy, ALL[name].network)
    episode = partial(ConditionedEpisode, condition=condition)
    if condition.rounds == 1:
        return rollout(agent, samples, rounds=1, condition=label, look=episode)
    kept = [i for i, sample in enumerate(samples) if sample.boxes or condition.shows != "true"]
    asked, begun = [samples[i] for i in kept], [firsts(condition.how)[i] for i in kept]
    boxes = [list(sample.boxes) for sample in asked] if condition.shows == "true" else None
    return rollout(agent, asked, firsts=begun, regions=boxes, condition=label, look=episode) if asked else []


def scored(trajectory: Trajectory, config: Config) -> Trajectory:
    return replace(trajectory, rewards=rewards.scores(trajectory, config.rewards, config.gate))


def note_costs(run: Run, checkpoint: str, name: str, made: list[Trajectory], seconds: float, factor: int) -> None:
    """Add a condition to `costs.json`: what was new, as shared replies and cached views cost no time."""
    first_views = [min(math.prod(t.size), run.config.first_view_pixels) for t in made]
    pixels = sum(first_views) + sum(math.prod(view.size) for t in made for view in t.views)
    costs, count = read_costs(run), max(len(made), 1)
    spent = {"seconds a question": seconds / count, "visual tokens a question": pixels / factor**2 / count}
    costs.setdefault(checkpoint, {})[name] = spent
    write_json(run.path / "costs.json", costs)


def read_costs(run: Run) -> dict[str, dict[str, dict[str, float]]]:
    """`{checkpoint: {condition: {…}}}`: seconds and visual tokens of a question; {} where none were noted."""
    path = run.path / "costs.json"
    return read_json(path) if path.exists() else {}


def examples(trajectories: list[Trajectory]) -> list[Trajectory]:
    """Six trajectories to show, where there are: three that round 2 repaired, those first whose regions cover most of
    the target, one that it broke, one kept right, one kept wrong; the first one where there is none of these."""
    kinds = {kind: [t for t in trajectories if change(t) == kind] for kind in CHANGES}
    kinds[REPAIRED].sort(key=lambda t: -round(grounding(t)["coverage"], 1) if t.sample.boxes else 0)
    chosen = kinds[REPAIRED][:3] + [t for kind in (BROKE, KEPT_RIGHT, KEPT_WRONG) for t in kinds[kind][:1]]
    return chosen or trajectories[:1]


def by_family(trajectories: list[Trajectory], kinds: bool = False) -> dict[str, list[Trajectory]]:
    """Trajectories by family; with `kinds` those of benchmarks that papers report so, as `TallyQA: simple`."""
    found = {}
    for t in trajectories:
        name, kind = t.sample.family, t.sample.meta.get("kind")
        if kind or not kinds:
            found.setdefault(f"{name}: {kind}" if kinds else name, []).append(t)
    return dict(sorted(found.items()))


def summary(trajectories: list[Trajectory]) -> dict:
    """The metrics of one condition; `drafts` are the shares of what round 2 did to the draft."""
    grounded = pd.DataFrame([grounding(t) for t in trajectories if t.sample.boxes and t.regions], dtype=float)
    outcomes = pd.Series([str(t.outcome) for t in trajectories])
    regions = pd.Series([str(r.outcome) for t in trajectories for r in t.regions], dtype=object)
    changes, kinds = [change(t) for t in trajectories], by_family(trajectories, kinds=True)
    return {
        **accuracy(trajectories),
        "families": {family: accuracy(each) for family, each in by_family(trajectories).items()},
        **({"kinds": {kind: accuracy(each) for kind, each in kinds.items()}} if kinds else {}),
        "outcomes": outcomes.value_counts(normalize=True).to_dict(),
        "regions": regions.value_counts().to_dict(),
        "drafts": {name: changes.count(name) / len(changes) for name in (*CHANGES, NO_DRAFT)},
        "grounding": grounded.mean().to_dict(),
        "tokens": float(np.mean([sum(t.lengths) for t in trajectories])),
    }


def metrics(checkpoints: dict[str, Results]) -> dict:
    """`metrics.json`: the summary of every condition by checkpoint, and paired differences: MAIN less each other
    condition of the last checkpoint, and the trained policy less the base, and less the base that looks in one way,
    the one with the highest accuracy on these same questions."""
    last = list(checkpoints.values())[-1]
    pairs = {f"{MAIN}, less {name}": (last[MAIN], last[name]) for name in last if name != MAIN}
    if "trained" in checkpoints:
        base, trained = checkpoints["base"], checkpoints["trained"]
        pairs |= {f"{name}: trained, less base": (trained[name], base[name]) for name in (ONE, MAIN)}
        if constants := [base[name] for name in CONSTANT.values() if name in base]:
            best = max(constants, key=lambda each: right(each).mean())
            pairs[f"{MAIN}: trained, less the base's best constant"] = trained[MAIN], best
        for family, trajectories in by_family(trained[MAIN]).items():
            pairs[f"{MAIN}, {family}: trained, less base"] = trajectories, base[MAIN]
    conditions = {c: {name: summary(each) for name, each in results.items()} for c, results in checkpoints.items()}
    return {"conditions": conditions, "differences": {name: paired_difference(*pair) for name, pair in pairs.items()}}
