"""Evaluation: greedy rollouts of every condition, before and after RL, and everything measured on them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from mags_kit import steps
from mags_kit.config import Config
from mags_kit.method import processes, rewards
from mags_kit.method.look import Agent
from mags_kit.method.measures import BROKE, CHANGES, KEPT_RIGHT, KEPT_WRONG, NO_DRAFT, REPAIRED, change, grounding
from mags_kit.method.policy import Policy, load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, Trajectory, read_samples, read_trajectories, write_jsonl
from mags_kit.report.statistics import accuracy, paired_difference
from mags_kit.runs import Run

ONE, MAIN = "one round, full view", "two rounds, super-resolution"  # what the claim compares
# The rows of the result table: name -> (rounds, network; empty: the config's super-resolution)
CONDITIONS = {
    ONE: (1, "none"),
    "two rounds, plain crop": (2, "none"),
    "two rounds, bicubic": (2, "bicubic"),
    MAIN: (2, ""),
}
MOMENTS = {"before": "before RL", "after": "after RL", "alone": "this model"}  # as tables and charts name them
Results = dict[str, list[Trajectory]]  # by condition


def evaluate(run: Run, policy: Policy, samples: list[Sample], moment: str, conditions=CONDITIONS) -> Results:
    """Greedy rollouts of every condition, each stored as JSONL and not made again.

    Several processes deal the samples out among them; the main one writes.
    """
    results = {}
    for name in conditions:
        rounds, network = CONDITIONS[name]
        path = run.trajectories(moment, name)
        if not processes.main_says(steps.ready, steps.answers(run, moment, name, CONDITIONS[name])):
            agent = Agent.of(run, policy, network)
            trajectories = rollout(agent, samples, rounds=rounds, condition=f"{moment}, {name}")
            if processes.here().is_main_process:
                write_jsonl(path, [scored(t, run.config) for t in trajectories])
            processes.here().wait_for_everyone()
        results[name] = read_trajectories(path)
    return results


def before_and_after(run: Run) -> tuple[Results, Results | None]:
    """The test set under every condition, by the policy that RL began with and by the best adapter, if there is one."""
    samples = read_samples(run.samples("test"))
    before = evaluate(run, load_policy(run.config, run.config.adapter), samples, "before")
    after = evaluate(run, load_policy(run.config, run.best), samples, "after") if run.best.exists() else None
    return before, after


def scored(trajectory: Trajectory, config: Config) -> Trajectory:
    return replace(trajectory, rewards=rewards.scores(trajectory, config.rewards))


def examples(trajectories: list[Trajectory]) -> list[Trajectory]:
    """Six to look at, where there are: three that round 2 repaired, one that it broke, one kept right, one wrong.

    Of those repaired, the ones that saw most of what the question asks for come first: the others may be luck. Where
    none has both a draft and a second round, the first.
    """
    kinds = {kind: [t for t in trajectories if change(t) == kind] for kind in CHANGES}
    kinds[REPAIRED].sort(key=lambda t: -round(grounding(t)["coverage"], 1) if t.sample.boxes else 0)
    chosen = kinds[REPAIRED][:3] + [t for kind in (BROKE, KEPT_RIGHT, KEPT_WRONG) for t in kinds[kind][:1]]
    return chosen or trajectories[:1]


def draft_changes(trajectories: list[Trajectory]) -> dict[str, float]:
    """What round 2 did to the draft, as shares: repaired, broke, kept right, kept wrong, no draft."""
    counts = pd.Series([change(t) for t in trajectories]).value_counts(normalize=True)
    return {name: float(counts.get(name, 0.0)) for name in (*CHANGES, NO_DRAFT)}


def families(trajectories: list[Trajectory]) -> list[str]:
    return sorted({t.sample.family for t in trajectories})


def of_family(trajectories: list[Trajectory], family: str) -> list[Trajectory]:
    return [t for t in trajectories if t.sample.family == family]


def summary(trajectories: list[Trajectory]) -> dict:
    """Everything measured on the trajectories of one condition."""
    looks = pd.DataFrame([grounding(t) for t in trajectories if t.sample.boxes and t.regions], dtype=float)
    outcomes = pd.Series([str(t.outcome) for t in trajectories])
    regions = pd.Series([str(r.outcome) for t in trajectories for r in t.regions], dtype=object)
    return {
        **accuracy(trajectories),
        "families": {family: accuracy(of_family(trajectories, family)) for family in families(trajectories)},
        "outcomes": outcomes.value_counts(normalize=True).to_dict(),
        "regions": regions.value_counts().to_dict(),
        "drafts": draft_changes(trajectories),
        "grounding": looks.mean().to_dict() if len(looks) else {},
        "tokens": float(np.mean([sum(t.lengths) for t in trajectories])),
    }


def metrics(before: Results, after: Results | None) -> dict:
    """`metrics.json`: every condition before and after RL, and the paired differences that the claim rests on."""
    moments = {"before": before} | ({"after": after} if after else {})
    pairs = _less_others(after or before)
    if after:
        pairs |= {f"{name}: after RL, less before": (after[name], before[name]) for name in (ONE, MAIN)}
        for family in families(after[MAIN]):
            pair = of_family(after[MAIN], family), of_family(before[MAIN], family)
            pairs[f"{MAIN}, {family}: after RL, less before"] = pair
    return _measured(moments, pairs)


def metrics_alone(results: Results) -> dict:
    """`metrics.json` of a model measured alone."""
    return _measured({"alone": results}, _less_others(results))


def _less_others(results: Results) -> dict[str, tuple]:
    return {f"{MAIN}, less {name}": (results[MAIN], results[name]) for name in results if name != MAIN}


def _measured(moments: dict[str, Results], pairs: dict[str, tuple]) -> dict:
    conditions = {m: {name: summary(trajectories) for name, trajectories in r.items()} for m, r in moments.items()}
    return {"conditions": conditions, "differences": {name: paired_difference(*pair) for name, pair in pairs.items()}}
