"""Rewards: pure functions of a trajectory. Rule-based, offline, without box annotations; weight 0 means "log only"."""

import math
import runpy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from mags_kit.method.protocol import ANSWER, DRAFT, RETHINK, RIGHT, THINK, VERDICT, WRONG
from mags_kit.method.parsing import CALLING, parts
from mags_kit.method.scoring import fits
from mags_kit.records import RegionOutcome, Outcome, Trajectory, area, blame, enlargement


def answer(t: Trajectory) -> float:
    """1 for a right final answer, else 0."""
    return float(t.outcome == Outcome.ANSWERED and fits(t.answer, t.sample))


def form(t: Trajectory) -> float:
    """Share of the six parts that were asked for, in [0, 1]: rationale, draft and a call as the end of round 1;
    verification, verdict and an answer as the end of the last. Empty parts and tags inside the reasoning earn nothing.
    Of an answer at once, where that is allowed, two parts: rationale and answer.
    """
    first, last = parts(t.replies[0]), parts(t.replies[-1]) if len(t.replies) > 1 else []
    wrote = [{part.tag for part in found if part.text} for found in (first, last)]
    ends = [found[-1].tag if found and found[-1].text and found[-1].ends else "" for found in (first, last)]
    if len(t.replies) == 1 and t.outcome == Outcome.ANSWERED:
        return ((THINK in wrote[0]) + (ends[0] == ANSWER)) / 2
    there = len({THINK, DRAFT} & wrote[0]) + len({RETHINK, VERDICT} & wrote[1])
    return (there + (ends[0] == CALLING) + (ends[1] == ANSWER)) / 6


def regions(t: Trajectory) -> float:
    """Share of the regions that gained something, in [0, 1]; 0 without a region.

    A region counts if its outcome is `ok` (so none twice), it is under a quarter of the image, and its view shows it
    at least twice as large, in length, as the first view. Of a 640x480 photo shown whole, a region of nine tenths
    gives 0. By the setting `gate` this is paid only where the answer is right, as DeepEyes pays its tool.
    """
    looks = zip([r for r in t.regions if r.usable], t.views, strict=False)
    small = [(r.outcome, v) for r, v in looks if 4 * area(r.box) < math.prod(t.size)]
    gained = [o == RegionOutcome.OK and enlargement(v, t.size, t.first_view) > 2 - 1e-9 for o, v in small]
    return sum(gained) / len(t.regions) if t.regions else 0.0


def draft(t: Trajectory) -> float:
    """1 for a right draft, else 0; it keeps a policy from spoiling its draft to make the verdict easy."""
    return float(t.draft is not None and len(t.replies) > 1 and fits(t.draft, t.sample))


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


def look_cost(t: Trajectory) -> float:
    """-1 for each look."""
    return -float(len(t.looks))


def token_cost(t: Trajectory) -> float:
    """-1 for each image token of the views."""
    return -float(t.view_tokens)


REWARDS = {"answer": answer, "format": form, "regions": regions, "draft": draft, "verify": verify}
REWARDS |= {"look_cost": look_cost, "token_cost": token_cost}


def function(name: str) -> Callable[[Trajectory], float]:
    """A reward by its name in REWARDS, or one of the user's own."""
    return REWARDS[name] if name in REWARDS else own(name, Path(name.rpartition(":")[0]).stat().st_mtime_ns)


@cache
def own(name: str, time: int) -> Callable[[Trajectory], float]:
    """`my_rewards.py:name` is the function `name` in that file, as of its `time`; ValueError where it has none."""
    file, _, attribute = name.rpartition(":")
    try:
        found = runpy.run_path(file).get(attribute)
    except Exception as error:
        raise ValueError(f"reward {name!r}: {file} can't be run: {type(error).__name__}: {error}") from None
    if not callable(found):
        raise ValueError(f"reward {name!r}: {file} has no function {attribute}; expected one of a trajectory")
    return found


def try_out(weights: dict[str, float], trajectories: list[Trajectory]) -> None:
    """Pay the user's own rewards for these trajectories, and for one without draft, verdict, answer and regions, so
    that a mistake in them ends a training before it begins; ValueError of one sentence."""
    empty = {"draft": None, "verdict": None, "answer": None, "regions": (), "views": (), "looks": (), "replies": ("",)}
    for name in (name for name in weights if ".py:" in name):
        for t in (*trajectories, replace(trajectories[0], **empty)):
            try:
                reward(name, t)
            except RuntimeError as error:
                expected = "expected a number for every trajectory, one without an answer too"
                raise ValueError(f"{error}; {expected}") from None


def reward(name: str, t: Trajectory, gate: str = "answer") -> float:
    """One reward of a trajectory, by its name; an error in it, or a value that is no number, becomes a RuntimeError
    that names the sample."""
    with blame(t.sample, f"reward {name}"):
        if name == "regions" and (gate == "none" or (gate == "answer" and not answer(t))):
            return 0.0
        value = float(function(name)(t))
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number")
        return value


def scores(t: Trajectory, weights: dict[str, float], gate: str = "answer") -> dict[str, float]:
    """The rewards of a trajectory that `weights` names, and their weighted `total` (for tables; TRL sums its own)."""
    values = {name: reward(name, t, gate) for name in weights}
    return values | {"total": sum(weights[name] * value for name, value in values.items())}


def advantages(totals, group: int, scale: str = "none"):
    """Rewards `(N * G,)` -> advantages `(N, G)`: less the group's mean; over its standard deviation, if `scale` is
    `group` (GRPO, eq. 1), else as Dr. GRPO has them. Shown in the notebooks; training uses TRL's own."""
    table = np.asarray(totals, float).reshape(-1, group)
    less = table - table.mean(1, keepdims=True)
    return less / (table.std(1, ddof=1, keepdims=True) + 1e-4) if scale == "group" else less
