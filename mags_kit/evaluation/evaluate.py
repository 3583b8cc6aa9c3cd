"""Evaluation: rollouts of every condition, before and after RL, and everything measured on them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from mags_kit import steps
from mags_kit.config import Config
from mags_kit.method import processes, rewards
from mags_kit.method.episode import Agent
from mags_kit.method.metrics import BROKE, CHANGES, KEPT_RIGHT, KEPT_WRONG, NO_DRAFT, REPAIRED, change, grounding
from mags_kit.method.policy import Policy, load_policy
from mags_kit.method.rollout import first_replies, repeat, rollout
from mags_kit.records import Sample, Trajectory, read_samples, read_trajectories, write_jsonl
from mags_kit.evaluation import evidence
from mags_kit.evaluation.conditions import ALL, DIRECT, MAIN, ONE, grid, looks, majority, step, votes_for
from mags_kit.evaluation.statistics import accuracy, matched, paired_difference
from mags_kit.run import Run

Results = dict[str, list[Trajectory]]  # by condition


def evaluate(run: Run, policy: Policy, samples: list[Sample], checkpoint: str, conditions: Iterable[str] = ()) -> Results:
    """Rollouts of the named conditions, by default the run's whole grid: greedy, but for votes; each stored as JSONL
    and not made again.

    Several processes deal the samples out among them; the main one writes. What a condition took is noted in
    `costs.json`, and what it was measured on in `evidence.json`.
    """
    results, answering = {}, _Answering(run, policy, samples, checkpoint)
    for name in conditions or grid(run.config):
        path = run.trajectories(checkpoint, name)
        if processes.main_says(steps.start, step(run, checkpoint, name)):
            spent = Counter()
            with evidence.measured(run, checkpoint, name, spent):
                trajectories = answering.under(name, results, spent)
                if processes.here().is_main_process:
                    write_jsonl(path, [scored(t, run.config) for t in trajectories])
                processes.here().wait_for_everyone()
        evidence.noted(run, checkpoint, name)
        if stored := read_trajectories(path):  # there is none where a condition needs boxes and no sample has any
            results[name] = stored
    return results


class _Answering:
    """A policy answering samples under one condition after the other; round 1 of two is made once for all of them."""

    def __init__(self, run: Run, policy: Policy, samples: list[Sample], checkpoint: str):
        self.run, self.policy, self.samples, self.checkpoint = run, policy, samples, checkpoint

    @cached_property
    def firsts(self) -> list[list[int]]:
        return first_replies(Agent.of(self.run, self.policy), self.samples, f"{self.checkpoint}, round 1")

    def under(self, name: str, results: Results, spent: Counter) -> list[Trajectory]:
        """One trajectory a sample; under `true`, only of samples with boxes. `results` are of the conditions before."""
        condition, label, seed = ALL[name], f"{self.checkpoint}, {name}", self.run.config.seed
        if condition.votes or condition.shows == "another":
            if not {ONE, MAIN} <= set(results):
                raise ValueError(f"condition {name!r} rests on {ONE!r} and {MAIN!r}; expected these before it")
        if condition.votes:
            condition = replace(condition, prompt=ALL[_direct(results)].prompt)
        agent = Agent.of(self.run, self.policy, condition.network)
        options = {"condition": label, "look": looks(condition, seed, results.get(MAIN, []), spent)}
        if condition.votes:
            return self._votes(agent, votes_for(results[MAIN], results[_direct(results)], self.policy.factor), options)
        if condition.rounds == 1:
            return rollout(agent, self.samples, rounds=1, **options)
        kept = [i for i, s in enumerate(self.samples) if s.boxes or condition.shows != "true"]
        samples, firsts = ([every[i] for i in kept] for every in (self.samples, self.firsts))
        boxes = [list(s.boxes) for s in samples] if condition.shows == "true" else None
        if not samples:
            return []
        return rollout(agent, samples, firsts=firsts, regions=boxes, **options)

    def _votes(self, agent: Agent, count: int, options: dict) -> list[Trajectory]:
        import torch

        asked = {"rounds": 1, "temperature": self.run.config.temperature, **options}
        with torch.random.fork_rng():  # what comes after draws the same numbers, with votes and without
            torch.manual_seed(self.run.config.seed)
            ballots = rollout(agent, repeat(self.samples, count), **asked)
        return [majority(ballots[i : i + count]) for i in range(0, len(ballots), count)]


def _direct(results: Results) -> str:
    return DIRECT if DIRECT in results else ONE


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
    checkpoints = {"before": before} | ({"after": after} if after else {})
    pairs = _less_others(after or before)
    if after:
        pairs |= {f"{name}: after RL, less before": (after[name], before[name]) for name in (ONE, MAIN)}
        for family in families(after[MAIN]):
            pair = of_family(after[MAIN], family), of_family(before[MAIN], family)
            pairs[f"{MAIN}, {family}: after RL, less before"] = pair
    return _measured(checkpoints, pairs)


def metrics_alone(results: Results) -> dict:
    """`metrics.json` of a model measured alone."""
    return _measured({"alone": results}, _less_others(results))


def _less_others(results: Results) -> dict[str, tuple]:
    return {f"{MAIN}, less {name}": matched(results[MAIN], results[name]) for name in results if name != MAIN}


def _measured(checkpoints: dict[str, Results], pairs: dict[str, tuple]) -> dict:
    conditions = {m: {name: summary(trajectories) for name, trajectories in r.items()} for m, r in checkpoints.items()}
    return {"conditions": conditions, "differences": {name: paired_difference(*pair) for name, pair in pairs.items()}}
