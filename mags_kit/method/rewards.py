"""Rewards: pure functions of a trajectory. Rule-based, offline, and without box annotations.

A weight of 0 means "log only".
"""

import math

import numpy as np

from mags_kit.method.protocol import ANSWER, DRAFT, RETHINK, RIGHT, THINK, VERDICT, WRONG
from mags_kit.method.parsing import CALLING, parts
from mags_kit.method.scoring import fits
from mags_kit.records import RegionOutcome, Outcome, Trajectory, area, blame


def answer(t: Trajectory) -> float:
    """1 for a right final answer, else 0."""
    return float(t.outcome == Outcome.ANSWERED and fits(t.answer, t.sample))


def form(t: Trajectory) -> float:
    """Share of the six parts that were asked for, in [0, 1]: rationale, draft and a call as the end of round 1;
    verification, verdict and an answer as the end of round 2. Empty parts and tags inside the reasoning earn nothing.
    """
    first, last = parts(t.replies[0]), parts(t.replies[-1]) if len(t.replies) == 2 else []
    wrote = [{part.tag for part in found if part.text} for found in (first, last)]
    ends = [found[-1].tag if found and found[-1].text and found[-1].ends else "" for found in (first, last)]
    there = len({THINK, DRAFT} & wrote[0]) + len({RETHINK, VERDICT} & wrote[1])
    return (there + (ends[0] == CALLING) + (ends[1] == ANSWER)) / 6


def regions(t: Trajectory) -> float:
    """Share of the regions that are well-formed and useful, in [0, 1]; 0 without a region.

    A region counts if its outcome is `ok` and it is small enough to be magnified: its view has at least a quarter as
    many pixels as its crop. One good region and one duplicate give 0.5; one of 300x300 seen as 128x128 gives 0.
    """
    looks = zip([r for r in t.regions if r.usable], t.views, strict=False)
    good = [r.outcome == RegionOutcome.OK and 4 * math.prod(v.size) >= area(v.box) for r, v in looks]
    return sum(good) / len(t.regions) if t.regions else 0.0


def draft(t: Trajectory) -> float:
    """1 for a right draft, else 0; it keeps a policy from spoiling its draft to make the verdict easy."""
    return float(t.draft is not None and len(t.replies) == 2 and fits(t.draft, t.sample))


def verify(t: Trajectory) -> float:
    """Round 2's verdict on the draft: 1 for a true one, -1 for calling a right draft wrong, else 0.

    The -1 is against always saying "wrong", which is mostly true where most drafts are wrong. A spoilt draft is the
    easiest to judge: with three times this weight on `draft`, spoiling does not pay for a policy whose drafts are right
    by chance (1/4) and whose verdicts are at least as good as a coin toss.
    """
    if t.draft is None or t.verdict is None:
        return 0.0
    good = fits(t.draft, t.sample)
    return float((t.verdict == RIGHT) == good) - float(good and t.verdict == WRONG)


REWARDS = {"answer": answer, "format": form, "regions": regions, "draft": draft, "verify": verify}


def reward(name: str, t: Trajectory) -> float:
    """One reward of a trajectory, by its name; an error in it becomes a RuntimeError that names the sample."""
    with blame(t.sample, f"reward {name}"):
        return REWARDS[name](t)


def scores(t: Trajectory, weights: dict[str, float]) -> dict[str, float]:
    """The rewards of a trajectory that `weights` names, and their weighted `total` (for tables; TRL sums its own)."""
    values = {name: reward(name, t) for name in weights}
    return values | {"total": sum(weights[name] * value for name, value in values.items())}


def advantages(totals, group: int):
    """Rewards `(N * G,)` -> advantages `(N, G)`: less the group's mean, over its standard deviation (GRPO, eq. 1).

    Shown in the notebooks; training uses TRL's own.
    """
    table = np.asarray(totals, float).reshape(-1, group)
    return (table - table.mean(1, keepdims=True)) / (table.std(1, ddof=1, keepdims=True) + 1e-4)
