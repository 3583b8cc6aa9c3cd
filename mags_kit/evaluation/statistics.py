"""Intervals, paired tests and power of accuracies and their differences.

Standard errors clustered by image, pairing and power as in Miller, “Adding Error Bars to Evals” (arXiv 2411.00640):
questions about one image are not independent. `metrics.right` decides what is right.
"""

import math
from collections.abc import Callable

import numpy as np

from mags_kit.method.metrics import right
from mags_kit.records import Trajectory

LEVEL, POWER = 0.95, 0.8  # of every interval; of the minimum detectable difference
FEW = 30  # clusters, below which a share has Wilson's interval
ROUNDING = 1e-9  # a standard error below it is 0


def wilson(hits: float, n: int) -> tuple[float, float]:
    """95% interval of a share in [0, 1] (Wilson 1927)."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, n, 1 - LEVEL, "wilson")
    return float(low), float(high)


def clusters_of(trajectories: list[Trajectory]) -> np.ndarray:
    """Which questions share an image: `(N,)` numbers from 0, one for each image."""
    return np.unique([t.sample.image for t in trajectories], return_inverse=True)[1]


def mean_interval(values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The mean of `(N,)` values, its clustered standard error and 95% interval, and the number of clusters.

    Miller's eq. 4 with the factor G / (G - 1) for G clusters, and Student's t with G - 1 degrees of freedom: where no
    two share a cluster, the ordinary interval. nan with one cluster.
    """
    sums = np.bincount(clusters, np.asarray(values, float) - np.mean(values))
    count, mean = len(sums), float(np.mean(values))
    error = math.sqrt(count / (count - 1) * (sums**2).sum()) / len(values) if count > 1 else math.nan
    error = 0.0 if error < ROUNDING else error
    reach = _reach(error, count - 1, count)
    return {"mean": mean, "se": error, "low": mean - reach, "high": mean + reach, "n": len(values), "clusters": count}


def _reach(error: float, freedom: float, clusters: int) -> float:
    """Half the width of a 95% interval. Without any spread it is the Wilson bound of what was never seen."""
    from scipy.stats import t

    return wilson(0, clusters)[1] if error < ROUNDING else float(t.ppf((1 + LEVEL) / 2, freedom)) * error


def within(found: dict[str, float], least: float, most: float) -> dict[str, float]:
    """An interval cut off at the least and the most that is possible, and as wide as that where it is nan."""
    low, high = (found[end] for end in ("low", "high"))
    return found | {
        "low": least if math.isnan(low) else max(least, low),
        "high": most if math.isnan(high) else min(most, high),
    }


def share(values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """`mean_interval` of `(N,)` values of 0 and 1; with FEW clusters, or all alike, Wilson's interval over clusters."""
    found = mean_interval(values, clusters)
    if found["clusters"] < FEW or found["se"] == 0:
        low, high = wilson(found["mean"] * found["clusters"], found["clusters"])
        found |= {"low": low, "high": high}
    return within(found, 0, 1)


def accuracy(trajectories: list[Trajectory]) -> dict[str, float]:
    """Accuracy in [0, 1] with its 95% interval, clustered by image (see `share`), and the number of samples."""
    found = share(right(trajectories), clusters_of(trajectories))
    return {"accuracy": found["mean"], **{key: found[key] for key in ("low", "high", "n")}}


def matched(ours: list[Trajectory], theirs: list[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """The trajectories of the samples that both have, by id, in the order of `ours`."""
    known = {t.sample.id: t for t in theirs}
    mine = [t for t in ours if t.sample.id in known]
    if not mine:
        raise ValueError("expected trajectories of the same samples, got two sets that share no sample id")
    return mine, [known[t.sample.id] for t in mine]


def paired_difference(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Accuracy of `ours` less that of `theirs` on the samples that both have, with its clustered 95% interval.

    `p` is McNemar's exact test where no image repeats, else the clustered t test. `smallest` is the minimum detectable
    difference, `discordant` the share of the questions that exactly one of the two answers right.
    """
    mine, other = matched(ours, theirs)
    gain, clusters = right(mine).astype(float) - right(other), clusters_of(mine)
    found, discordant = mean_interval(gain, clusters), float((gain != 0).mean())
    alone = mean_interval(gain, np.arange(len(gain)))["se"]
    error = found.pop("se")
    effective = len(gain) * (min(1.0, (alone / error) ** 2) if error > 0 else 1)  # independent questions
    found |= {"p": p_value(gain, clusters), "discordant": discordant, "smallest": detectable(effective, discordant)}
    return {"difference": found.pop("mean"), **within(found, -1, 1)}


def p_value(gain: np.ndarray, clusters: np.ndarray) -> float:
    """Two-sided p that paired gains `(N,)` of 1, 0 and -1 have the mean 0.

    The clustered t test where clusters repeat and their sums differ, else McNemar's exact test of the clusters' sums.
    """
    from scipy.stats import t
    from statsmodels.stats.contingency_tables import mcnemar

    found, sums = mean_interval(gain, clusters), np.bincount(clusters, gain)
    if found["se"] > 0 and len(sums) < len(gain):
        return float(2 * t.sf(abs(found["mean"]) / found["se"], len(sums) - 1))
    return float(mcnemar([[0, (sums > 0).sum()], [(sums < 0).sum(), 0]], exact=True).pvalue)


def detectable(n: float, discordant: float) -> float:
    """The minimum difference that `n` paired questions detect with POWER, in shares (0.05: 5 points).

    `discordant` is the share of the questions that exactly one of the two answers right: the variance of a paired
    difference, where that is small (Miller, section 5).
    """
    from scipy.stats import norm

    return float((norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER)) * math.sqrt(discordant / n))


def with_holm(rows: dict[str, dict]) -> dict[str, dict]:
    """Differences by name, each with `p (Holm)` over all of them, and `tied` where it is not significant."""
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests([row["p"] for row in rows.values()], method="holm")[1] if rows else ()
    return {
        name: row | {"p (Holm)": float(p), "tied": bool(p >= 1 - LEVEL or row["low"] <= 0 <= row["high"])}
        for (name, row), p in zip(rows.items(), adjusted, strict=True)
    }


def over_seeds(
    ours: list[list[Trajectory]], theirs: list[list[Trajectory]], measured: Callable = right
) -> dict[str, float]:  # fmt: skip
    """`two_way` of ours less theirs, a list for each seed, paired by id; `each` has the difference by seed."""
    pairs = [matched(*pair) for pair in zip(ours, theirs, strict=True)]
    gains = np.array([measured(a).astype(float) - measured(b) for a, b in pairs])
    return within(two_way(gains, clusters_of(pairs[0][0])), -1, 1) | {"each": gains.mean(1).tolist()}


def two_way(gains: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The mean of `(S, N)` gains of S seeds on N questions, with a 95% interval for other seeds *and* other questions.

    Both are random and crossed, so the variance of the mean is that over questions (clustered) and that over seeds,
    less what both hold of the noise in a single answer. Degrees of freedom by Satterthwaite; nan with one seed or
    image. (With five seeds statsmodels' two-way clustered intervals cover 91 to 93%, with t at 4 about 98%.)
    """
    seeds, n = gains.shape
    over_questions, by_seed = mean_interval(gains.mean(0), clusters), gains.mean(1)
    count = over_questions["clusters"]
    reach = math.nan
    if seeds > 1 and count > 1:
        rest = gains - gains.mean(0) - by_seed[:, None] + gains.mean()
        sums = np.array([np.bincount(clusters, row) for row in rest])  # here, too, questions of one image go together
        first, second = over_questions["se"] ** 2, by_seed.var(ddof=1) / seeds
        noise = (sums**2).sum() * count / (count - 1) / (seeds - 1) / seeds / n**2
        variance = max(first + second - noise, first, second)
        parts = first**2 / (count - 1) + second**2 / (seeds - 1) + noise**2 / (count - 1) / (seeds - 1)
        reach = _reach(math.sqrt(variance), variance**2 / parts if variance else 0, count)
    mean = float(gains.mean())
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "seeds": seeds, "n": n, "clusters": count}
