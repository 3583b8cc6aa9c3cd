"""Rewards: pure functions of a trajectory. Rule-based, offline, and without box annotations.

A reward that raises is a bug and stops training. A weight of 0 means "log only".
"""

import math

import numpy as np

from mags_kit.method.protocol import ANSWER, DRAFT, RETHINK, RIGHT, THINK, VERDICT, WRONG
from mags_kit.method.parsing import CALLING, Part, parts
from mags_kit.method.scoring import fits
from mags_kit.records import RegionOutcome, Outcome, Trajectory, area, blame


def answer(t: Trajectory) -> float:
    """1 for the right final answer, else 0."""
    return float(t.outcome == Outcome.ANSWERED and fits(t.answer, t.sample))


def form(t: Trajectory) -> float:
    """Graded form in [0, 1]: rationale, draft and a call in round 1; verification, verdict and answer in round 2.

    A reply that is cut off before its tool call has at most 2 of the 6 parts: a third. Empty parts, and tags that are
    only spoken of inside the reasoning, earn nothing.
    """
    first, last = parts(t.replies[0]), parts(t.replies[-1]) if len(t.replies) == 2 else []
    there = (
        _wrote(first, THINK), _wrote(first, DRAFT), _wrote(first[-1:], CALLING, ends=True),
        _wrote(last, RETHINK), _wrote(last, VERDICT), _wrote(last[-1:], ANSWER, ends=True),
    )  # fmt: skip
    return sum(there) / len(there)


def _wrote(found: list[Part], tag: str, ends: bool = False) -> bool:
    """Whether there is such a part, not empty; with `ends`, as the end of the reply."""
    return any(part.tag == tag and part.text and part.ends >= ends for part in found)


def regions(t: Trajectory) -> float:
    """Share of the regions that are well-formed and worth a look, in [0, 1].

    A region counts when it lies inside the image, is neither degenerate nor almost the whole image, repeats no other,
    and is small enough for a magnifying glass: its view has at least a quarter as many pixels as were cut out for it.
    One good region and one duplicate give 0.5, no region gives 0; so does one of 300x300 pixels seen as 128x128.
    """
    looks = zip([r for r in t.regions if r.usable], t.views, strict=False)
    good = [r.outcome == RegionOutcome.OK and 4 * math.prod(v.size) >= area(v.box) for r, v in looks]
    return sum(good) / len(t.regions) if t.regions else 0.0


def draft(t: Trajectory) -> float:
    """1 for a right draft, else 0: so that no policy gains by spoiling its draft to judge it easily."""
    return float(t.draft is not None and len(t.replies) == 2 and fits(t.draft, t.sample))


def verify(t: Trajectory) -> float:
    """Round 2's verdict on the draft: 1 for a true one, -1 for calling a right draft wrong, else 0.

    Nothing is paid for an answer that changed. Where most drafts are wrong, "wrong" every time is true mostly: hence
    the -1. A spoilt draft is the easiest to judge: with three times this weight on `draft` that pays for nobody whose
    drafts are right by chance (a quarter) and whose verdicts are no worse than a coin.
    """
    if t.draft is None or t.verdict is None:
        return 0.0
    good = fits(t.draft, t.sample)
    return float((t.verdict == RIGHT) == good) - float(good and t.verdict == WRONG)


REWARDS = {"answer": answer, "format": form, "regions": regions, "draft": draft, "verify": verify}


def reward(name: str, t: Trajectory) -> float:
    """One reward of a trajectory, by its name; a RuntimeError that names the sample where ours has a bug."""
    with blame(t.sample, f"reward {name}"):
        return REWARDS[name](t)


def scores(t: Trajectory, weights: dict[str, float]) -> dict[str, float]:
    """Every reward of a trajectory by name, and their weighted `total`."""
    values = {name: reward(name, t) for name in weights}
    return values | {"total": sum(weights[name] * value for name, value in values.items())}


def advantages(totals, group: int):
    """Rewards `(N * G,)` -> advantages `(N, G)`: less the group's mean, over its standard deviation (GRPO, eq. 1).

    Shown in the notebooks; training uses TRL's own.
    """
    table = np.asarray(totals, float).reshape(-1, group)
    return (table - table.mean(1, keepdims=True)) / (table.std(1, ddof=1, keepdims=True) + 1e-4)
