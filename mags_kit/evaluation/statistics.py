"""Intervals, paired tests and power of accuracies and their differences.

Standard errors clustered by image, pairing and power as in Miller, “Adding Error Bars to Evals” (arXiv 2411.00640):
questions about one image are not independent. `metrics.right` decides what is right.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # normal quantile; Student's t: distribution and quantile

from mags_kit.method.metrics import right
from mags_kit.records import Trajectory

LEVEL, POWER = 0.95, 0.8  # of every interval; of the minimum detectable difference
FEW = 30  # clusters, below which a share has Wilson's interval
ROUNDING = 1e-9  # a standard error below it is 0


def wilson(hits: float, n: int) -> tuple[float, float]:
    """95% interval of a share in [0, 1] (Wilson 1927)."""
    from statsmodels.stats.proportion import proportion_confint

    return tuple(map(float, proportion_confint(hits, n, 1 - LEVEL, "wilson")))


def clusters_of(trajectories: list[Trajectory]) -> np.ndarray:
    """Which questions share an image: `(N,)` numbers from 0, one for each image."""
    return np.unique([t.sample.image for t in trajectories], return_inverse=True)[1]


def _interval(mean: float, error: float, freedom: float, clusters: int, least: float) -> tuple[float, float]:
    """By Student's t, cut off at `least` and 1, and all between them where the error is nan."""
    if math.isnan(error):
        return least, 1
    # without any spread, as far as Wilson's bound of what was never seen
    reach = wilson(0, clusters)[1] if error < ROUNDING else float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return max(least, mean - reach), min(1, mean + reach)


def mean_interval(values: np.ndarray, clusters: np.ndarray, least: float = -1) -> dict[str, float]:
    """The mean of `(N,)` values in [least, 1], its clustered standard error (nan with one cluster) and 95% interval.

    Miller's eq. 4 with the factor G / (G - 1) for G clusters, and t with G - 1 degrees of freedom. A `least` of 0 means
    values of 0 and 1: with FEW clusters, or all alike, they have Wilson's interval over clusters.
    """
    mean = float(np.mean(values))
    sums = np.bincount(clusters, np.asarray(values, float) - mean)
    count = len(sums)
    error = math.sqrt(count / (count - 1) * (sums**2).sum()) / len(values) if count > 1 else math.nan
    error = 0.0 if error < ROUNDING else error
    low, high = _interval(mean, error, count - 1, count, least)
    if least == 0 and (count < FEW or error == 0):
        low, high = wilson(mean * count, count)
    return {"mean": mean, "se": error, "low": low, "high": high, "n": len(values), "clusters": count}


def accuracy(trajectories: list[Trajectory]) -> dict[str, float]:
    """Accuracy in [0, 1] with its 95% interval, and the number of samples."""
    found = mean_interval(right(trajectories), clusters_of(trajectories), 0)
    return {"accuracy": found["mean"], **{key: found[key] for key in ("low", "high", "n")}}


def selection(rows: list[dict], images: list[str], halves: int = 500) -> dict[str, float]:
    """Leads in accuracy of the best checkpoint over the last, by the validation `rows` of a training: `chosen` on the
    half of the images whose questions choose the best, `held out` on the other half; means over random halves.

    The first is too high, as the best of several is partly the luckiest; what the second lacks is that luck.
    `images` names each question's image.
    """
    right, clusters = np.array([row["right"] for row in rows]), np.unique(images, return_inverse=True)[1]
    rng, count, leads = np.random.default_rng(0), clusters.max() + 1, []
    for _ in range(halves if count > 1 else 0):
        half = np.isin(clusters, rng.permutation(count)[: count // 2])
        best = right[:, half].mean(1).argmax()  # of equal ones the first, as in training
        leads.append([(right[best, of] * 1.0 - right[-1, of]).mean() for of in (half, ~half)])
    return dict(zip(("chosen", "held out"), np.mean(leads or [[0.0, 0.0]], 0).tolist(), strict=True))


def matched(ours: list[Trajectory], theirs: list[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """The trajectories of the samples that both have, by id, in the order of `ours`."""
    known = {t.sample.id: t for t in theirs}
    mine = [t for t in ours if t.sample.id in known]
    if not mine:
        raise ValueError("expected trajectories of the same samples, got two sets that share no sample id")
    return mine, [known[t.sample.id] for t in mine]


def paired_difference(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Accuracy of `ours` less that of `theirs` on the samples that both have: interval, p, the share `discordant` of
    the questions that exactly one of the two answers right, and `smallest`, the minimum detectable difference."""
    mine, other = matched(ours, theirs)
    gain, clusters = right(mine).astype(float) - right(other), clusters_of(mine)
    found, discordant = mean_interval(gain, clusters), float((gain != 0).mean())
    alone, error = mean_interval(gain, np.arange(len(gain)))["se"], found.pop("se")
    effective = len(gain) * (min(1.0, (alone / error) ** 2) if error > 0 else 1)  # independent questions
    found |= {"p": p_value(gain, clusters), "discordant": discordant, "smallest": detectable(effective, discordant)}
    return {"difference": found.pop("mean"), **found}


def p_value(gain: np.ndarray, clusters: np.ndarray) -> float:
    """Two-sided p that paired gains `(N,)` of 1, 0 and -1 have the mean 0: the clustered t test where clusters repeat
    and their sums differ, else McNemar's exact test of the clusters' sums."""
    from statsmodels.stats.contingency_tables import mcnemar

    found, sums = mean_interval(gain, clusters), np.bincount(clusters, gain)
    if found["se"] > 0 and len(sums) < len(gain):
        return float(2 * stdtr(len(sums) - 1, -abs(found["mean"]) / found["se"]))
    return float(mcnemar([[0, (sums > 0).sum()], [(sums < 0).sum(), 0]], exact=True).pvalue)


def detectable(n: float, discordant: float) -> float:
    """The minimum difference, in [0, 1], that `n` paired questions detect with POWER (Miller, section 5)."""
    return float((ndtri((1 + LEVEL) / 2) + ndtri(POWER)) * math.sqrt(discordant / n))


def with_holm(rows: dict[str, dict]) -> dict[str, dict]:
    """Differences by name, each with `p (Holm)` over all of them, and `tied` where it is not significant."""
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests([row["p"] for row in rows.values()], method="holm")[1] if rows else ()
    return {
        name: row | {"p (Holm)": float(p), "tied": bool(p >= 1 - LEVEL or row["low"] <= 0 <= row["high"])}
        for (name, row), p in zip(rows.items(), adjusted, strict=True)
    }


def over_seeds(ours: list[list[Trajectory]], theirs: list[list[Trajectory]], measured: Callable = right) -> dict:
    """`two_way` of ours less theirs, a list for each seed, paired by id; `each` has the difference by seed."""
    pairs = [matched(*pair) for pair in zip(ours, theirs, strict=True)]
    gains = np.array([measured(a).astype(float) - measured(b) for a, b in pairs])
    return two_way(gains, clusters_of(pairs[0][0])) | {"each": gains.mean(1).tolist()}


def two_way(gains: np.ndarray, clusters: np.ndarray, least: float = -1) -> dict[str, float]:
    """The mean of `(S, N)` gains of S seeds on N questions, with a 95% interval for other seeds *and* other questions.

    Both are random and crossed: the variance is that over questions (clustered) and that over seeds, less what both
    hold of the noise in a single answer. Degrees of freedom by Satterthwaite.
    """
    seeds, n = gains.shape
    over_questions, by_seed = mean_interval(gains.mean(0), clusters), gains.mean(1)
    count, error, freedom = over_questions["clusters"], math.nan, 0
    if seeds > 1 and count > 1:
        rest = gains - gains.mean(0) - by_seed[:, None] + gains.mean()
        sums = np.array([np.bincount(clusters, row) for row in rest])
        first, second = over_questions["se"] ** 2, by_seed.var(ddof=1) / seeds
        noise = (sums**2).sum() * count / (count - 1) / (seeds - 1) / seeds / n**2
        variance = max(first + second - noise, first, second)
        parts = first**2 / (count - 1) + second**2 / (seeds - 1) + noise**2 / (count - 1) / (seeds - 1)
        error, freedom = math.sqrt(variance), variance**2 / parts if variance else 0
    mean = float(gains.mean())
    low, high = _interval(mean, error, freedom, count, least)
    return {"difference": mean, "low": low, "high": high, "seeds": seeds, "n": n, "clusters": count}
