"""Metrics of trajectories: right or wrong, what round 2 changed, how true its verdicts are, where the regions lie."""

import string

import numpy as np

from mags_kit.method import rewards
from mags_kit.method.parsing import parts
from mags_kit.method.protocol import ANSWER, CALL, RETHINK, RIGHT, TOOL_PROMPT, VERDICT
from mags_kit.method.scoring import fits, normalise
from mags_kit.records import Trajectory, area

CHANGES = REPAIRED, BROKE, KEPT_RIGHT, KEPT_WRONG = "repaired", "broke", "kept right", "kept wrong"
NO_DRAFT = "no draft"
NO_MARKS = str.maketrans("", "", string.punctuation)
RUN = 8  # words in a row that count as copied


def right(trajectories: list[Trajectory]) -> np.ndarray:
    """Whether each trajectory's answer is right, `(N,)` bool, by the rule that training uses."""
    return np.array([rewards.answer(t) == 1 for t in trajectories])


def mixed_groups(verdicts, group: int) -> float:
    """Share of the groups in which some answers are right and some wrong; `verdicts` `(N * G,)`, group by group."""
    table = np.asarray(verdicts, bool).reshape(-1, group)
    return float(np.mean(table.any(1) & ~table.all(1)))


def change(t: Trajectory) -> str:
    """What round 2 did to the draft: one of `CHANGES`, or `NO_DRAFT`."""
    if t.draft is None or len(t.replies) < 2:
        return NO_DRAFT
    before, after = fits(t.draft, t.sample), rewards.answer(t) == 1
    return {(0, 1): REPAIRED, (1, 0): BROKE, (1, 1): KEPT_RIGHT, (0, 0): KEPT_WRONG}[before, after]


def verdicts(trajectories: list[Trajectory]) -> dict[str, float]:
    """Shares of round 2's verdicts that agree with draft and answer, and that are true of right drafts, of wrong ones,
    and balanced over both (nan without such drafts). {} without a verdict.
    """
    judged = [t for t in trajectories if t.verdict and t.draft is not None]
    if not judged:
        return {}
    agrees = [(normalise(t.draft) == normalise(t.answer or "")) == (t.verdict == RIGHT) for t in judged]
    true = np.array([rewards.verify(t) > 0 for t in judged])
    good = np.array([fits(t.draft, t.sample) for t in judged])
    of_right, of_wrong = (float(np.mean(true[of])) if of.any() else np.nan for of in (good, ~good))
    return {
        "verdicts given": len(judged) / len(trajectories),
        "verdict fits draft and answer": float(np.mean(agrees)),
        "verdict true of right drafts": of_right,
        "verdict true of wrong drafts": of_wrong,
        "verdict true, balanced": (of_right + of_wrong) / 2,
        "drafts right": float(np.mean(good)),
    }


def exact_match(t: Trajectory) -> bool:
    """Whether the answer is an accepted one but for case and punctuation: the rule by which lmms-eval judges GQA."""
    said, *accepted = (text.lower().translate(NO_MARKS).strip() for text in (t.answer or "", *t.sample.accepted))
    return said in accepted


def went_on(t: Trajectory) -> bool:
    """Whether the first reply goes on after its tool call, or gives parts that belong to the last round beside it."""
    before, call, after = t.replies[0].partition(CALL[1])
    return bool(call) and bool(after.strip() or {RETHINK, VERDICT, ANSWER} & {part.tag for part in parts(before)})


def copied(t: Trajectory) -> float:
    """Share of the first reply's words that stand in runs of RUN words copied from the question or the kit's prompt."""
    told, said = (text.split() for text in (f"{t.sample.question} {TOOL_PROMPT}", t.replies[0]))
    runs = {tuple(told[i : i + RUN]) for i in range(len(told))}
    starts = [i for i in range(len(said) - RUN + 1) if tuple(said[i : i + RUN]) in runs]
    return len({i + j for i in starts for j in range(RUN)}) / max(1, len(said))


def grounding(t: Trajectory) -> dict[str, float]:
    """How well the regions match the sample's boxes: `coverage`, the share of the boxes' area inside any region, and
    `iou`, the best overlap of one region with one box. Both in [0, 1]; 0 without a region. Without boxes an error.
    """
    boxes, regions = t.sample.boxes, [r.box for r in t.regions if r.usable]
    covered = 0
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        for a, b, c, d in regions:
            mask[max(0, b - y0) : max(0, d - y0), max(0, a - x0) : max(0, c - x0)] = True
        covered += mask.sum()
    best = max((_iou(box, region) for box in boxes for region in regions), default=0.0)
    return {"coverage": float(covered / sum(map(area, boxes))), "iou": best}


def _iou(a, b) -> float:
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def step_metrics(trajectories: list[Trajectory]) -> dict[str, float]:
    """Means over trajectories for the trainer's log; the samples' boxes serve the log only."""
    shares = {
        "call_rate": [bool(t.regions) for t in trajectories],
        "area": [area(r.box) / (t.size[0] * t.size[1]) for t in trajectories for r in t.regions if r.usable],
        "coverage": [grounding(t)["coverage"] for t in trajectories if t.sample.boxes],
        "looks": [len(t.looks) for t in trajectories],
        "words": [len(t.replies[0].split()) for t in trajectories],
        "copied": [copied(t) for t in trajectories],
        "went_on": [went_on(t) for t in trajectories],
        "repaired": [change(t) == REPAIRED for t in trajectories],
        "broke": [change(t) == BROKE for t in trajectories],
    }
    return {f"look/{name}": float(np.mean(values)) for name, values in shares.items() if values}
