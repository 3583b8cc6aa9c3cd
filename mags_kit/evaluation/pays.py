"""Whether each part of the method pays, over all seeds: the rows that `results/hypotheses.md` speaks of."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mags_kit.config import Config
from mags_kit.method import rewards
from mags_kit.method.metrics import right, verdicts
from mags_kit.records import Trajectory
from mags_kit.evaluation.conditions import BICUBIC, BLANKED, CONDITIONS, MAIN, ONE
from mags_kit.evaluation.evaluate import Results, families
from mags_kit.evaluation.statistics import clusters_of, matched, two_way, within
from mags_kit.data import drawing, scenes

Pair = tuple[list[Trajectory], list[Trajectory]]
DRAFTS, KEPT = "drafts right", "right drafts kept"


def ways(config: Config) -> tuple[str, ...]:
    """The conditions that are answered after RL with each seed: what the claims compare."""
    return (MAIN, ONE) if config.grid == "short" else (*CONDITIONS, BLANKED)


def pays(before: Results, after: dict[int, Results]) -> dict[str, dict]:
    """`{row: {"value", "low", "high", "seeds", "n", "each"}}`: shares, or differences of two, of the answers after RL
    with every seed; `each` has the value by seed, `n` the questions asked with each.

    Differences are paired by question. The 95% intervals are for other questions and other seeds; shares of drafts and
    verdicts have none. A row is missing where the samples do not say what it is about.
    """
    seeds = list(after.values())
    after_before = [(results[MAIN], before[MAIN]) for results in seeds]
    two_one = [(results[MAIN], results[ONE]) for results in seeds]
    rows = {"RL": _gain(after_before)}
    for family in families(before[MAIN]):
        rows[f"RL, {family}"] = _gain(after_before, lambda t, family=family: t.sample.family == family)
    for size in scenes.SIZES:
        rows[f"second round, {size}"] = _gain(two_one, lambda t, size=size: t.sample.meta.get("size") == size)
    if all(BICUBIC in results for results in seeds):
        glass = [(results[MAIN], results[BICUBIC]) for results in seeds]
        for qualities in (tuple(drawing.QUALITIES)[1:], *((quality,) for quality in drawing.QUALITIES)):
            rows[f"super-resolution, small, {' and '.join(qualities)}"] = _gain(glass, _small(qualities))
    rows["drafts, after RL less before"] = _gain(after_before, measured=_drafts)
    rows |= _shares(before[MAIN], [results[MAIN] for results in seeds])
    return {name: row for name, row in rows.items() if row}


def _small(qualities: tuple[str, ...]) -> Callable:
    return lambda t: t.sample.meta.get("size") == scenes.SMALL and t.sample.meta.get("quality") in qualities


def _drafts(trajectories: list[Trajectory]) -> np.ndarray:
    return np.array([rewards.draft(t) == 1 for t in trajectories])


def _gain(pairs: list[Pair], about: Callable = lambda t: True, measured: Callable = right) -> dict:
    """Ours less theirs, a pair for each seed, on the samples that it is about; {} where there is none."""
    pairs = [matched(*pair) for pair in pairs]
    chosen = [i for i, t in enumerate(pairs[0][0]) if about(t)]
    if not chosen:
        return {}
    gains = np.array([measured(ours).astype(float) - measured(theirs) for ours, theirs in pairs])[:, chosen]
    found = within(two_way(gains, clusters_of([pairs[0][0][i] for i in chosen])), -1, 1)
    return {"value": found.pop("difference"), **found, "each": gains.mean(1).tolist()}


def _shares(before: list[Trajectory], after: list[list[Trajectory]]) -> dict[str, dict]:
    """What drafts and verdicts are after RL; of drafts, what they were before as well."""

    def share(of: Callable) -> dict:
        each, at_first = [of(trajectories) for trajectories in after], of(before)
        if np.isnan(each).any():
            return {}
        known = {} if np.isnan(at_first) else {"before": at_first}
        return {"value": float(np.mean(each)), "each": each, **known, "n": len(before)}

    def large_sharp(trajectories):
        meta = {"size": scenes.LARGE, "quality": next(iter(drawing.QUALITIES))}
        return [t for t in trajectories if meta.items() <= t.sample.meta.items()]

    def kept(trajectories):
        drafts = _drafts(trajectories)
        return float(right(trajectories)[drafts].mean()) if drafts.any() else np.nan

    rows = {}
    if about := len(large_sharp(before)):
        rows[f"{DRAFTS}, large and sharp"] = share(lambda t: float(_drafts(large_sharp(t)).mean())) | {"n": about}
    rows[KEPT] = share(kept)
    if all(verdicts(trajectories) for trajectories in (before, *after)):
        for name in ("verdict fits draft and answer", "verdict true, balanced"):
            rows[name] = share(lambda t, name=name: verdicts(t)[name])
    return rows


def pays_table(found: dict[str, dict]) -> pd.DataFrame:
    """A row for each: percent or points, over all seeds and by seed."""
    rows = {}
    for name, row in found.items():
        sign = "+" if "low" in row else ""
        rows[name] = {"all seeds": f"{100 * row['value']:{sign}.1f}"}
        if "low" in row:
            rows[name]["95% interval"] = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        rows[name]["each seed"] = ", ".join(f"{100 * value:{sign}.1f}" for value in row["each"])
        rows[name]["before RL"] = f"{100 * row['before']:.1f}" if "before" in row else ""
        rows[name]["questions"] = row["n"]
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")
