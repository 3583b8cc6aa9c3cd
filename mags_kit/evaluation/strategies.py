"""Constant strategies: a policy that looks in the same way at every question, and the best rule of such strategies.

What RL adds is its margin over the best constant; the best rule by size and kind of question says how much is there.
"""

from collections import defaultdict

import numpy as np

from mags_kit.method import rewards
from mags_kit.method.episode import Agent
from mags_kit.method.protocol import AT_ONCE, CLOSELY, STRATEGIES, TWO_CARDS
from mags_kit.method.rollout import first_replies, imposed, rollout
from mags_kit.records import Sample, Trajectory

ORACLE = "true region"


def constants(agent: Agent, samples: list[Sample], progress: bool = True) -> dict[str, list[Trajectory]]:
    """Greedy trajectories of each strategy that the settings allow; and, as `ORACLE`, of the samples' own boxes in
    place of those that it asks for."""
    own, firsts, found = first_replies(agent, samples, progress=progress), {}, {}
    for name in STRATEGIES:
        if name != AT_ONCE or not agent.config.must_look:
            firsts[name] = imposed(agent, samples, own, name, progress=progress)
            found[name] = rollout(agent, samples, firsts=firsts[name], condition=name, progress=progress)
    boxes = [list(sample.boxes) for sample in samples]
    given = [firsts[CLOSELY if len(each) == 1 else TWO_CARDS][i] for i, each in enumerate(boxes)]
    found[ORACLE] = rollout(agent, samples, regions=boxes, firsts=given, condition=ORACLE, progress=progress)
    return found


def returns(trajectories: list[Trajectory], cost: float) -> np.ndarray:
    """1 for a right answer, less `cost` for each look, `(N,)`."""
    return np.array([rewards.answer(t) + cost * rewards.look_cost(t) for t in trajectories])


def kind(sample: Sample) -> tuple[str, str]:
    """What a rule may depend on: the size of what is asked for, and the family of the question."""
    return sample.meta.get("size", ""), sample.family


def best_constant(played: dict[str, list[Trajectory]], cost: float) -> str:
    """The strategy with the highest mean return, of those that need no boxes."""
    return max((name for name in played if name in STRATEGIES), key=lambda name: returns(played[name], cost).mean())


def best_rule(played: dict[str, list[Trajectory]], cost: float, folds: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Returns and looks `(N,)` of the rule that takes for each kind of question the strategy that is best on it.

    It is chosen on other samples than it is measured on: every sample's strategy is that of the other `folds`.
    """
    names = [name for name in played if name in STRATEGIES]
    table = np.stack([returns(played[name], cost) for name in names])  # (strategies, N)
    looks = np.array([[len(t.looks) for t in played[name]] for name in names])
    kinds = defaultdict(list)
    for i, t in enumerate(played[names[0]]):
        kinds[kind(t.sample)].append(i)
    chosen = np.zeros(table.shape[1], int)
    for members in kinds.values():
        members = np.array(members)
        for fold in range(folds):
            inside = np.arange(len(members)) % folds == fold
            others = members[~inside] if (~inside).any() else members
            chosen[members[inside]] = table[:, others].mean(1).argmax()
    picked = np.arange(table.shape[1])
    return table[chosen, picked], looks[chosen, picked]
