"""How sure a result is: intervals and paired tests, by scipy. What is right is decided by `measures.right`.

Standard errors, clusters, pairing and power as in Miller, “Adding Error Bars to Evals” (arXiv 2411.00640). Questions
about one image are no independent draws: where some share one, an interval counts images, not questions.
"""

import math
from collections.abc import Callable

import numpy as np

from mags_kit.method.metrics import right
from mags_kit.records import Trajectory

LEVEL, POWER = 0.95, 0.8  # of every interval; with which a difference is to be found
RESAMPLES = 5000


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95% interval of a share in [0, 1] (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy(trajectories: list[Trajectory]) -> dict[str, float]:
    """Accuracy in [0, 1] with its 95% Wilson interval and the number of samples."""
    hits = right(trajectories)
    low, high = wilson(int(hits.sum()), len(hits))
    return {"accuracy": float(hits.mean()), "low": low, "high": high, "n": len(hits)}


def paired_difference(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Accuracy of `ours` less that of `theirs` on the same samples, with a 95% bootstrap interval over samples.

    The p value is McNemar's exact test: among the samples that exactly one of the two solves, a fair coin.
    """
    if [t.sample.id for t in ours] != [t.sample.id for t in theirs]:
        raise ValueError("paired_difference compares trajectories of the same samples in the same order")
    gain = right(ours).astype(float) - right(theirs)
    return _mean_gain(gain) | {"p": mcnemar(gain), "n": len(gain)}


def mcnemar(gain: np.ndarray) -> float:
    """McNemar's exact p of paired gains `(N,)` of 1, 0 and -1."""
    from scipy.stats import binomtest

    won, lost = int((gain > 0).sum()), int((gain < 0).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def seeds_difference(ours: list[list[Trajectory]], theirs: list[list[Trajectory]]) -> dict[str, float]:
    """The same over several seeds: for each question the mean over seeds of ours less theirs, then the bootstrap.

    The interval says how sure the mean of these seeds is, not how much another seed may differ: see `two_way`.
    """
    gain = np.mean([right(one) for one in ours], 0) - np.mean([right(one) for one in theirs], 0)
    return _mean_gain(gain) | {"n": len(gain)}


def _mean_gain(gain: np.ndarray) -> dict[str, float]:
    """The mean of `(N,)` differences with its 95% percentile bootstrap interval."""
    from scipy.stats import bootstrap

    low = high = gain.mean()
    if gain.any():
        interval = bootstrap((gain,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0).confidence_interval
        low, high = interval.low, interval.high
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high)}


def clusters_of(trajectories: list[Trajectory]) -> np.ndarray:
    """Which questions share an image: `(N,)` numbers from 0, one for each image."""
    return np.unique([t.sample.image for t in trajectories], return_inverse=True)[1]


def mean_interval(values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The mean of `(N,)` values, its clustered standard error and 95% interval, and the number of clusters.

    Miller's eq. 4 with the factor G / (G - 1) for G clusters, and Student's t with G - 1 degrees of freedom: where no
    two share a cluster it is the usual standard error. With one cluster nothing is known of the spread: nan.
    """
    sums = np.bincount(clusters, np.asarray(values, float) - np.mean(values))
    count, mean = len(sums), float(np.mean(values))
    error = math.sqrt(count / (count - 1) * (sums**2).sum()) / len(values) if count > 1 else math.nan
    reach = _t(count - 1) * error
    return {"mean": mean, "se": error, "low": mean - reach, "high": mean + reach, "n": len(values), "clusters": count}


def share(values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """`mean_interval` of a share; where all values are alike Wilson's over the clusters: none seen is not none."""
    found = mean_interval(values, clusters)
    if found["se"] == 0:
        low, high = wilson(int(found["mean"]) * found["clusters"], found["clusters"])
        found |= {"low": low, "high": high}
    return within(found, 0, 1)


def _t(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom)) if freedom > 0 else math.nan


def cluster_bootstrap(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """95% percentile interval of the mean of `(N,)` values, whole clusters drawn again with replacement."""
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    return tuple(float(v) for v in np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)))


def matched(ours: list[Trajectory], theirs: list[Trajectory]) -> tuple[list[Trajectory], list[Trajectory]]:
    """The trajectories of the samples that both have, by id, in the order of `ours`."""
    known = {t.sample.id: t for t in theirs}
    mine = [t for t in ours if t.sample.id in known]
    if not mine:
        raise ValueError("expected trajectories of the same samples, got two sets that share no sample id")
    return mine, [known[t.sample.id] for t in mine]


def compared(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Ours less theirs on the samples that both have, paired by id: difference, clustered interval, bootstrap, p.

    `p` is McNemar's exact test where each question has an image of its own, else the clustered t test: questions about
    one image are no independent coins. `smallest` is the difference that so many questions find (see `detectable`).
    """
    mine, other = matched(ours, theirs)
    gain, clusters = right(mine).astype(float) - right(other), clusters_of(mine)
    found = mean_interval(gain, clusters)
    p = mcnemar(gain) if found["clusters"] == len(gain) else t_test(found["mean"], found["se"], found["clusters"])
    found = within(found, -1, 1)
    low, high = cluster_bootstrap(gain, clusters)
    discordant, alone = float((gain != 0).mean()), mean_interval(gain, np.arange(len(gain)))["se"]
    worth = min(1.0, (alone / found["se"]) ** 2) if found["se"] > 0 else 1.0  # what a question that shares an image is
    smallest = detectable(worth * len(gain), discordant)
    return {"difference": found.pop("mean"), **found, "bootstrap low": low, "bootstrap high": high, "p": p} | {
        "discordant": discordant,
        "smallest": smallest,
    }


def t_test(mean: float, error: float, clusters: int) -> float:
    """Two-sided p that a mean with its clustered standard error (`mean_interval`) is 0; 1 where it has none."""
    from scipy.stats import t

    return float(2 * t.sf(abs(mean) / error, clusters - 1)) if error > 0 else 1.0


def detectable(n: float, discordant: float, power: float = POWER) -> float:
    """The smallest true difference that `n` paired questions find with this power, in shares (0.05: 5 points).

    `discordant` is the share of the questions that exactly one of the two answers right: the variance of a paired
    difference, where that is small (Miller, section 5).
    """
    from scipy.stats import norm

    return float((norm.ppf((1 + LEVEL) / 2) + norm.ppf(power)) * math.sqrt(discordant / n))


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p values (1979): as many tests as there are, still 5% for one false alarm among all."""
    order, adjusted, least = np.argsort(p, kind="stable"), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = least
    return adjusted


def with_holm(rows: dict[str, dict]) -> dict[str, dict]:
    """Differences by name, each with `p (Holm)` over all of them and whether the two are `tied`."""
    adjusted = holm([row["p"] for row in rows.values()])
    return {
        name: row | {"p (Holm)": p, "tied": bool(p >= 1 - LEVEL or row["low"] <= 0 <= row["high"])}
        for (name, row), p in zip(rows.items(), adjusted, strict=True)
    }


def over_seeds(ours: list[list[Trajectory]], theirs: list[list[Trajectory]], measured: Callable = right) -> dict:
    """`two_way` of ours less theirs, a list for each seed, paired by id; `each` has the difference by seed."""
    pairs = [matched(*pair) for pair in zip(ours, theirs, strict=True)]
    gains = np.array([measured(a).astype(float) - measured(b) for a, b in pairs])
    return within(two_way(gains, clusters_of(pairs[0][0])), -1, 1) | {"each": gains.mean(1).tolist()}


def within(found: dict[str, float], least: float, most: float) -> dict[str, float]:
    """An interval cut off where nothing can be; where nothing is known of it (nan), all that can be."""
    low, high = (found[end] for end in ("low", "high"))
    return found | {
        "low": least if math.isnan(low) else max(least, low),
        "high": most if math.isnan(high) else min(most, high),
    }


def two_way(gains: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The mean of `(S, N)` gains of S seeds on N questions, with a 95% interval for other seeds *and* other questions.

    Both are random and crossed, so the variance of the mean is that over questions (clustered) and that over seeds,
    less what both hold of the noise in a single answer. Degrees of freedom by Satterthwaite. One seed, or one image,
    tells nothing of others: nan.
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
        reach = _t(variance**2 / parts) * math.sqrt(variance) if variance else 0.0
    mean = float(gains.mean())
    return {"difference": mean, "low": mean - reach, "high": mean + reach, "seeds": seeds, "n": n, "clusters": count}
