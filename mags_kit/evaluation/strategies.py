"""What looking earns where a look costs something: of a policy, of constants, of the best rule made of these.

A constant looks in the same way at every question. What RL adds is its margin over the best of them; the best rule by
size and kind of question says how much is there.
"""

from collections import defaultdict
from functools import partial

import numpy as np

from mags_kit.data.scenes import BIG, FINE
from mags_kit.evaluation.conditions import CONSTANT
from mags_kit.evaluation.evaluate import Results
from mags_kit.evaluation.statistics import clusters_of, mean_interval, over_seeds
from mags_kit.method import rewards
from mags_kit.method.metrics import right
from mags_kit.records import Sample, Trajectory


def earned(trajectories: list[Trajectory], cost: float) -> np.ndarray:
    """1 for a right answer, less `cost` for each look, `(N,)`."""
    return np.array([rewards.answer(t) + cost * rewards.look_cost(t) for t in trajectories])


def looks(trajectories: list[Trajectory]) -> np.ndarray:
    """How often each trajectory looks, `(N,)`."""
    return np.array([len(t.looks) for t in trajectories])


def kind(sample: Sample) -> tuple[str, str]:
    """What a rule may depend on: the size of what is asked for, and the family of the question."""
    return sample.meta.get("size", ""), sample.family


def constants(results: Results) -> Results:
    """Of results by condition, those of the constants."""
    return {name: results[name] for name in CONSTANT.values() if name in results}


def best_constant(results: Results, cost: float) -> str:
    """The constant that earns most on these questions."""
    return max(constants(results), key=lambda name: earned(results[name], cost).mean())


def best_rule(results: Results, cost: float, folds: int = 2) -> list[Trajectory]:
    """The trajectories of the rule that takes for each kind of question the constant that earns most on it.

    It is chosen on other samples than it is measured on: every sample's constant is that of the other `folds`.
    """
    played = list(constants(results).values())
    table = np.stack([earned(each, cost) for each in played])  # (constants, N)
    kinds = defaultdict(list)
    for i, t in enumerate(played[0]):
        kinds[kind(t.sample)].append(i)
    chosen = np.zeros(table.shape[1], int)
    for members in map(np.array, kinds.values()):
        for fold in range(folds):
            inside = np.arange(len(members)) % folds == fold
            others = members[~inside] if (~inside).any() else members
            chosen[members[inside]] = table[:, others].mean(1).argmax()
    return [played[which][i] for i, which in enumerate(chosen)]


def row(trajectories: list[list[Trajectory]], cost: float, theirs: list[Trajectory] | None = None) -> dict:
    """Means over seeds, a list of trajectories for each: what is `earned` (and by seed in `each`), shares of right
    answers and looks, by size of what is asked for too; and `less the best constant`, where its trajectories are
    given, with its interval for other questions and, where there are several, other seeds."""
    each = [float(earned(t, cost).mean()) for t in trajectories]
    sizes = np.array([t.sample.meta["size"] for t in trajectories[0]])
    found = {"earned": float(np.mean(each)), "each": each}
    for what, measured in (("right", right), ("looks", looks)):
        values = np.mean([measured(t) for t in trajectories], 0)
        found |= {what: float(values.mean())}
        for name, among in (("small", FINE), ("large", BIG)):
            found[f"{what}, {name}"] = float(values[np.isin(sizes, among)].mean())
    if theirs and len(each) > 1:
        found["less the best constant"] = over_seeds(trajectories, [theirs] * len(each), partial(earned, cost=cost))
    elif theirs:
        less = mean_interval(earned(trajectories[0], cost) - earned(theirs, cost), clusters_of(theirs))
        found["less the best constant"] = less | {"difference": less["mean"]}
    return found
