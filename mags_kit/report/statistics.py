"""How sure a result is: intervals and paired tests, by scipy. What is right is decided by `measures.right`."""

import numpy as np

from mags_kit.method.measures import right
from mags_kit.records import Trajectory


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95% interval of a share in [0, 1] (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return interval.low, interval.high


def accuracy(trajectories: list[Trajectory]) -> dict[str, float]:
    """Accuracy in [0, 1] with its 95% Wilson interval and the number of samples."""
    hits = right(trajectories)
    low, high = wilson(int(hits.sum()), len(hits))
    return {"accuracy": float(hits.mean()), "low": low, "high": high, "n": len(hits)}


def paired_difference(ours: list[Trajectory], theirs: list[Trajectory]) -> dict[str, float]:
    """Accuracy of `ours` less that of `theirs` on the same samples, with a 95% bootstrap interval over samples.

    The p value is McNemar's exact test: among the samples that exactly one of the two solves, a fair coin.
    """
    from scipy.stats import binomtest

    if [t.sample.id for t in ours] != [t.sample.id for t in theirs]:
        raise ValueError("paired_difference compares trajectories of the same samples in the same order")
    gain = right(ours).astype(float) - right(theirs)
    won, lost = int((gain > 0).sum()), int((gain < 0).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return _mean_gain(gain) | {"p": p, "n": len(gain)}


def seeds_difference(ours: list[list[Trajectory]], theirs: list[list[Trajectory]]) -> dict[str, float]:
    """The same over several seeds: for each question the mean over seeds of ours less theirs, then the bootstrap.

    The interval says how sure the mean of these seeds is, not how much another seed may differ.
    """
    gain = np.mean([right(one) for one in ours], 0) - np.mean([right(one) for one in theirs], 0)
    return _mean_gain(gain) | {"n": len(gain)}


def _mean_gain(gain: np.ndarray) -> dict[str, float]:
    """The mean of `(N,)` differences with its 95% percentile bootstrap interval."""
    from scipy.stats import bootstrap

    low = high = gain.mean()
    if gain.any():
        interval = bootstrap((gain,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
        low, high = interval.low, interval.high
    return {"difference": float(gain.mean()), "low": float(low), "high": float(high)}
