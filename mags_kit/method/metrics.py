"""What is to be said of one trajectory, or of several together: right or wrong, what round 2 did, where it looked."""

import numpy as np

from mags_kit.method import rewards
from mags_kit.method.protocol import RIGHT
from mags_kit.method.scoring import fits
from mags_kit.method.wording import normalise
from mags_kit.records import Trajectory, area

CHANGES = REPAIRED, BROKE, KEPT_RIGHT, KEPT_WRONG = "repaired", "broke", "kept right", "kept wrong"  # round 2's work
NO_DRAFT = "no draft"


def right(trajectories: list[Trajectory]) -> np.ndarray:
    """Whether each trajectory's answer is right, `(N,)` bool, by the rule that training uses."""
    return np.array([rewards.answer(t) == 1 for t in trajectories])


def mixed_groups(verdicts, group: int) -> float:
    """Share of the groups in which some answers are right and some wrong; `verdicts` `(N * G,)`, group by group.

    >>> mixed_groups([True, False, True, True, False, False], group=2)
    0.3333333333333333
    """
    table = np.asarray(verdicts, bool).reshape(-1, group)
    return float(np.mean(table.any(1) & ~table.all(1)))


def change(t: Trajectory) -> str:
    """What round 2 did to the draft: one of `CHANGES`, or that there was none."""
    if t.draft is None or len(t.replies) < 2:
        return NO_DRAFT
    before, after = fits(t.draft, t.sample), rewards.answer(t) == 1
    return {(0, 1): REPAIRED, (1, 0): BROKE, (1, 1): KEPT_RIGHT, (0, 0): KEPT_WRONG}[before, after]


def verdicts(trajectories: list[Trajectory]) -> dict[str, float]:
    """How round 2 judges drafts, of those that it judged: whether the verdict fits the draft and the answer that it
    stands between, and whether it is true of right drafts, of wrong ones, and of both with equal weight.

    {} where none was judged; a share of no draft is nan.
    """
    judged = [t for t in trajectories if t.verdict and t.draft is not None]
    if not judged:
        return {}
    agrees = [(normalise(t.draft) == normalise(t.answer or "")) == (t.verdict == RIGHT) for t in judged]
    true = {good: [rewards.verify(t) > 0 for t in judged if fits(t.draft, t.sample) == good] for good in (True, False)}
    share = {good: float(np.mean(hits)) if hits else np.nan for good, hits in true.items()}
    return {
        "verdicts given": len(judged) / len(trajectories),
        "verdict fits draft and answer": float(np.mean(agrees)),
        "verdict true of right drafts": share[True],
        "verdict true of wrong drafts": share[False],
        "verdict true, balanced": (share[True] + share[False]) / 2,
        "drafts right": float(np.mean([fits(t.draft, t.sample) for t in judged])),
    }


def grounding(t: Trajectory) -> dict[str, float]:
    """How well the regions show what the question asks for: `coverage`, the share of the target boxes' area inside
    any region, and `iou`, the best overlap of one region with one target. Both in [0, 1]; 0 without a region.

    ValueError for a sample without boxes.
    """
    boxes, looks = t.sample.boxes, [r.box for r in t.regions if r.usable]
    if not sum(map(area, boxes)):
        raise ValueError(f"sample {t.sample.id!r}: expected boxes of its target, to say how well regions show it")
    covered = total = 0
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        for a, b, c, d in looks:
            mask[max(0, b - y0) : max(0, d - y0), max(0, a - x0) : max(0, c - x0)] = True
        covered, total = covered + mask.sum(), total + mask.size
    best = max((_iou(box, look) for box in boxes for look in looks), default=0.0)
    return {"coverage": float(covered / total), "iou": best}


def _iou(a, b) -> float:
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def step_metrics(trajectories: list[Trajectory]) -> dict[str, float]:
    """What the policy did, logged beside the rewards; boxes of the samples serve the log only."""
    shares = {
        "call_rate": [bool(t.regions) for t in trajectories],
        "area": [area(r.box) / (t.size[0] * t.size[1]) for t in trajectories for r in t.regions if r.usable],
        "coverage": [grounding(t)["coverage"] for t in trajectories if t.sample.boxes],
        "repaired": [change(t) == REPAIRED for t in trajectories],
        "broke": [change(t) == BROKE for t in trajectories],
    }
    return {f"look/{name}": float(np.mean(values)) for name, values in shares.items() if values}
