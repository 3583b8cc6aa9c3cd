"""Evaluation: accuracy with intervals, paired differences, grounding, and what the second look did to drafts.

Statistics are scipy's. A trajectory is right by `rewards.answer`, the rule that training uses.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from mags_kit import processes, rewards
from mags_kit.magnifier import Magnifier
from mags_kit.policy import Policy
from mags_kit.records import Sample, Trajectory, read_trajectories, write_jsonl
from mags_kit.rollout import magnifier_for, shared_rollout
from mags_kit.runs import Run

# The rows of the result table: name -> (rounds, network; None is the config's super-resolution)
CONDITIONS = {
    "one round, full view": (1, "none"),
    "two rounds, plain crop": (2, "none"),
    "two rounds, bicubic": (2, "bicubic"),
    "two rounds, super-resolution": (2, None),
}
MAIN = "two rounds, super-resolution"
CHANGES = ("repaired", "broke", "kept right", "kept wrong")  # what round 2 can do to the draft


def evaluate(run: Run, policy: Policy, samples: list[Sample], moment: str, conditions=CONDITIONS) -> dict:
    """Greedy rollouts of every condition -> {condition: trajectories}, each stored as JSONL and not made again.

    Several processes deal the samples out among them; the main one writes.
    """
    results = {}
    for name in conditions:
        rounds, network = CONDITIONS[name]
        path = stored(run, moment, name)
        if not path.exists():
            magnifier: Magnifier = magnifier_for(run.config, policy, run.cache, network)
            made = shared_rollout(
                policy, samples, run.file("data"), run.config, magnifier, rounds=rounds, condition=f"{moment}, {name}"
            )
            if processes.here().is_main_process:
                write_jsonl(path, [_scored(t, run.config.rewards) for t in made])
            processes.here().wait_for_everyone()
        results[name] = read_trajectories(path)
    return results


def stored(run: Run, moment: str, condition: str = MAIN) -> Path:
    """Where the trajectories of a condition lie."""
    return run.file("trajectories", f"{moment}-{condition.replace(', ', '-').replace(' ', '_')}.jsonl")


def pick(trajectories: list[Trajectory]) -> list[Trajectory]:
    """Six to look at, where there are: three that round 2 repaired, one that it broke, one kept right, one wrong.

    Of those repaired, the ones that saw most of what the question asks for come first: the others may be luck. Where
    none has both a draft and a second round, the first.
    """
    kinds = {kind: [t for t in trajectories if change(t) == kind] for kind in CHANGES}
    kinds["repaired"].sort(key=lambda t: -round(grounding(t)["coverage"], 1) if t.sample.boxes else 0)
    picked = kinds["repaired"][:3] + [t for kind in CHANGES[1:] for t in kinds[kind][:1]]
    return picked or trajectories[:1]


def _scored(trajectory: Trajectory, weights) -> Trajectory:
    from dataclasses import replace

    return replace(trajectory, rewards=rewards.scores(trajectory, weights))


def right(trajectories: list[Trajectory]) -> np.ndarray:
    """Whether each trajectory's answer is right, `(N,)` bool."""
    return np.array([rewards.answer(t) == 1 for t in trajectories])


def accuracy(trajectories: list[Trajectory]) -> dict[str, float]:
    """Accuracy in [0, 1] with its 95% Wilson interval (Wilson 1927) and the number of samples."""
    from scipy.stats import binomtest

    hits = right(trajectories)
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    return {"accuracy": float(hits.mean()), "low": interval.low, "high": interval.high, "n": len(hits)}


def paired_difference(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Accuracy of `ours` less that of `theirs` on the same samples, with a 95% bootstrap interval over samples.

    The p value is McNemar's exact test: among the samples that exactly one of the two solves, a fair coin.
    """
    from scipy.stats import binomtest, bootstrap

    if [t.sample.id for t in ours] != [t.sample.id for t in theirs]:
        raise ValueError("paired_difference compares trajectories of the same samples in the same order")
    gain = right(ours).astype(float) - right(theirs)
    won, lost = int((gain > 0).sum()), int((gain < 0).sum())
    low, high = gain.mean(), gain.mean()
    if won + lost:
        interval = bootstrap((gain,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
        low, high = interval.low, interval.high
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high), "p": p, "n": len(gain)}


def seeds_difference(ours: list[list[Trajectory]], theirs: list[list[Trajectory]]) -> dict[str, float]:
    """The same over several seeds: for each question the mean over seeds of ours less theirs, then the bootstrap.

    The interval says how sure the mean of these seeds is, not how much another seed may differ.
    """
    from scipy.stats import bootstrap

    gain = np.mean([right(made) for made in ours], 0) - np.mean([right(made) for made in theirs], 0)
    low = high = gain.mean()
    if gain.any():
        interval = bootstrap((gain,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
        low, high = interval.low, interval.high
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high), "n": len(gain)}


def draft_changes(trajectories: list[Trajectory]) -> dict[str, float]:
    """What round 2 did to the draft, as shares: repaired, broke, kept right, kept wrong, no draft."""
    counts = pd.Series([change(t) for t in trajectories]).value_counts(normalize=True)
    return {name: float(counts.get(name, 0.0)) for name in (*CHANGES, "no draft")}


def change(t: Trajectory) -> str:
    """One trajectory's entry for `draft_changes`."""
    if t.draft is None or len(t.replies) < 2:
        return "no draft"
    before, after = rewards.is_right(t.draft, t.sample.answer), rewards.answer(t) == 1
    return {(0, 1): "repaired", (1, 0): "broke", (1, 1): "kept right", (0, 0): "kept wrong"}[before, after]


def grounding(t: Trajectory) -> dict[str, float]:
    """How well the regions show what the question asks for: `coverage`, the share of the target boxes' area inside
    any region, and `iou`, the best overlap of one region with one target. Both in [0, 1]; 0 without a region."""
    boxes, looks = t.sample.boxes, [r.box for r in t.regions if r.usable]
    covered = total = 0
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        for a, b, c, d in looks:
            mask[max(0, b - y0) : max(0, d - y0), max(0, a - x0) : max(0, c - x0)] = True
        covered, total = covered + mask.sum(), total + mask.size
    best = max((_iou(box, look) for box in boxes for look in looks), default=0.0)
    return {"coverage": float(covered / total), "iou": best}


def _iou(a, b) -> float:
    def area(box):
        return max(0, box[2] - box[0]) * max(0, box[3] - box[1])

    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def summary(trajectories: list[Trajectory]) -> dict:
    """Everything measured on the trajectories of one condition."""
    looks = pd.DataFrame([grounding(t) for t in trajectories if t.sample.boxes and t.regions], dtype=float)
    return {
        **accuracy(trajectories),
        "families": {f: accuracy([t for t in trajectories if t.sample.family == f]) for f in families(trajectories)},
        "outcomes": pd.Series([t.outcome for t in trajectories]).value_counts(normalize=True).to_dict(),
        "regions": pd.Series([r.outcome for t in trajectories for r in t.regions], dtype=object)
        .value_counts()
        .to_dict(),
        "drafts": draft_changes(trajectories),
        "grounding": looks.mean().to_dict() if len(looks) else {},
        "tokens": float(np.mean([sum(t.lengths) for t in trajectories])),
    }


def families(trajectories: list[Trajectory]) -> list[str]:
    return sorted({t.sample.family for t in trajectories})


def metrics(before: dict[str, list[Trajectory]], after: dict[str, list[Trajectory]] | None) -> dict:
    """`metrics.json`: every condition before and after RL, and the paired differences that the claim rests on."""
    moments = {"before": before} | ({"after": after} if after else {})
    found = {m: {name: summary(made) for name, made in results.items()} for m, results in moments.items()}
    one, two = "one round, full view", MAIN
    last = after or before
    pairs = {f"{two}, less {name}": (last[two], last[name]) for name in last if name != two}
    if after:
        pairs |= {f"{name}: after RL, less before": (after[name], before[name]) for name in (one, two)}
        for family in families(after[two]):
            pick = [[t for t in side[two] if t.sample.family == family] for side in (after, before)]
            pairs[f"{two}, {family}: after RL, less before"] = tuple(pick)
    return {"conditions": found, "differences": {name: paired_difference(*pair) for name, pair in pairs.items()}}


def table(found: dict) -> pd.DataFrame:
    """The result table: accuracy in percent with its interval, by condition and moment."""
    rows = {}
    for moment, results in found["conditions"].items():
        for name, result in results.items():
            rows.setdefault(name, {})[f"{moment} RL"] = _percent(result)
    return pd.DataFrame.from_dict(rows, orient="index")


def family_table(found: dict, condition: str = MAIN) -> pd.DataFrame:
    """Accuracy in percent by question family, for one condition, and how many questions each has."""
    results = next(iter(found["conditions"].values()))[condition]["families"]
    rows = {"questions": {family: value["n"] for family, value in results.items()}}
    rows |= {
        f"{moment} RL": {family: _percent(value) for family, value in results[condition]["families"].items()}
        for moment, results in found["conditions"].items()
    }
    return pd.DataFrame(rows)


def difference_table(found: dict) -> pd.DataFrame:
    """The paired differences in points, with their intervals."""
    rows = {
        name: {
            "points": f"{100 * d['difference']:+.1f}",
            "95% interval": f"{100 * d['low']:+.1f} to {100 * d['high']:+.1f}",
            "p (McNemar)": f"{d['p']:.2g}",
            "n": d["n"],
        }
        for name, d in found["differences"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _percent(a: dict) -> str:
    return f"{100 * a['accuracy']:.1f} ({100 * a['low']:.0f} to {100 * a['high']:.0f})"
