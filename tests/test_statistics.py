"""Every statistic by hand, and what intervals promise held against simulated data."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_evaluation import batch

from mags_kit.evaluation import statistics as s

ALONE = np.arange(1000)


def test_mean_and_clustered_error_by_hand():
    """0, 0, 1, 1: s = 0.577, s / sqrt(4) = 0.289; t with 3 degrees of freedom reaches 3.182 of it.

    Clusters (1, 1), (0, 0) and (1, 0) about a mean of 0.5 sum to 1, -1 and 0: sqrt(3/2 * 2) / 6 = 0.2887; the naive
    error would be sqrt(0.3 / 6) = 0.2236. One cluster says nothing of the spread.
    """
    found = s.mean_interval(np.array([0, 0, 1, 1]), ALONE[:4])
    assert (found["mean"], found["clusters"], found["n"], found["high"]) == (0.5, 4, 4, 1)  # cut off
    assert found["se"] == pytest.approx(12**-0.5) and found["low"] == pytest.approx(0.5 - 3.182446 * 12**-0.5)
    values = np.array([1, 1, 0, 0, 1, 0])
    assert s.mean_interval(values, np.array([0, 0, 1, 1, 2, 2]))["se"] == pytest.approx(3**0.5 / 6)
    assert s.mean_interval(values, ALONE[:6])["se"] == pytest.approx(0.05**0.5)
    one = s.mean_interval(np.array([1.0, 0.0]), np.zeros(2, int))
    assert one["clusters"] == 1 and np.isnan(one["se"]) and (one["low"], one["high"]) == (-1, 1)


def test_a_share_that_is_0_or_1_or_of_few_images_has_wilsons_interval_over_images():
    none, some = np.zeros(90), np.tile([1.0, 0, 0], 30)
    cases = [  # values, images, and the interval
        (none, ALONE[:90], (0, 0.0409)),
        (none, np.repeat(np.arange(10), 9), (0, 0.278)),  # 0 of 10 images
        (some, np.repeat(np.arange(10), 9), s.wilson(10 / 3, 10)),
        (some, np.repeat(np.arange(30), 3), s.wilson(10, 30)),  # each image holds the same: no spread
        (some, ALONE[:90], 1 / 3 + np.array([-1, 1]) * stats.t.ppf(0.975, 89) * (2 / 9 / 89) ** 0.5),
    ]
    for values, clusters, expected in cases:
        found = s.mean_interval(values, clusters, 0)
        assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=1e-3), expected


def test_the_lead_of_the_best_checkpoint_is_held_against_other_images():
    """Two checkpoints, each right on one image: the half that chooses is won or tied, the other one lost or tied."""
    luck, images = [{"right": [1, 1, 0, 0]}, {"right": [0, 0, 1, 1]}], ["a", "a", "b", "b"]
    found = s.selection(luck, images)
    assert found["chosen"] == pytest.approx(0.5, abs=0.1) and found["held out"] == -found["chosen"]
    better = [{"right": [0, 0, 0, 0]}, {"right": [1, 1, 1, 1]}, {"right": [1, 0, 1, 0]}]
    assert s.selection(better, images) == {"chosen": 0.5, "held out": 0.5}
    assert s.selection(better, ["a"] * 4) == {"chosen": 0, "held out": 0}  # one image cannot be halved


def test_a_difference_that_was_never_seen_is_not_known_to_be_none():
    ours, theirs = batch(["3"] * 10), batch(["1"] * 10)
    same, won = s.paired_difference(ours, ours), s.paired_difference(ours, theirs)
    assert (same["low"], same["high"], same["p"]) == pytest.approx((-0.278, 0.278, 1), abs=1e-3)
    assert (won["low"], won["high"], won["p"]) == pytest.approx((0.722, 1, 2 / 2**10), abs=1e-3)


def test_p_by_hand():
    """Without repeated images, a fair coin for each question that exactly one of the two solves."""
    for won, lost, p in [(6, 1, 0.125), (5, 5, 1.0), (0, 0, 1.0), (10, 0, 2 / 2**10)]:
        gain = np.array([1] * won + [-1] * lost + [0] * 3)
        assert s.p_value(gain, ALONE[: len(gain)]) == pytest.approx(p), (won, lost)
    doubled = np.repeat([1, 1, 1, 0], 2)  # two questions an image: 0.75, and 0.25 off; t = 3 with three degrees
    assert s.p_value(doubled, np.repeat(np.arange(4), 2)) == pytest.approx(2 * stats.t.sf(3, 3))
    assert s.p_value(np.ones(8), np.repeat(np.arange(4), 2)) == pytest.approx(2 / 2**4)  # no spread: a coin an image


def test_holm_by_hand():
    """Significant is what Holm and the interval both say: 4 * 0.005, 3 * 0.01, 2 * 0.03, and not below that."""
    cases = [
        ([0.01, 0.04, 0.03, 0.005], 0.01, [0.03, 0.06, 0.06, 0.02], [False, True, True, False]),
        ([0.01, 0.04, 0.03, 0.005], -0.01, [0.03, 0.06, 0.06, 0.02], [True] * 4),
        ([0.02], 0.01, [0.02], [False]), ([], 0.01, [], []),
    ]  # fmt: skip
    for p, low, adjusted, tied in cases:
        found = s.with_holm({str(i): {"p": value, "low": low, "high": 1} for i, value in enumerate(p)})
        assert [row["p (Holm)"] for row in found.values()] == pytest.approx(adjusted), p
        assert [row["tied"] for row in found.values()] == tied, p


def test_the_detectable_difference_is_found_four_times_in_five():
    """(1.960 + 0.842) * sqrt(0.4 / 900) = 5.9 points."""
    n, discordant = 900, 0.4
    assert s.detectable(n, discordant) == pytest.approx(0.0591, abs=1e-4) and s.detectable(300, 0.0) == 0
    share = (1 + s.detectable(n, discordant) / discordant) / 2  # of the discordant questions that ours wins
    rng = np.random.default_rng(0)
    differ = rng.binomial(n, discordant, 4000)
    found = np.abs(2 * rng.binomial(differ, share) - differ) / np.sqrt(differ) > stats.norm.ppf(0.975)  # McNemar
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_two_ways_by_hand():
    """Two seeds on two questions, gains (1, 0) and (1, 1): questions' means 1 and 0.5, seeds' 0.5 and 1. Their
    variances of the mean are 0.0625 each; the rest is 0.25 everywhere, and holds 0.0625 of both. With a third of a
    degree of freedom the interval is all that can be. One seed says nothing of others."""
    found = s.two_way(np.array([[1, 0], [1, 1]]) / 1e6, ALONE[:2])
    assert found["difference"] == 0.75e-6 and (found["seeds"], found["n"], found["clusters"]) == (2, 2, 2)
    assert found["high"] - 0.75e-6 == pytest.approx(stats.t.ppf(0.975, 1 / 3) * 0.25e-6)
    assert s.two_way(np.array([[1, 0], [1, 1]]), ALONE[:2])["low"] == -1
    assert s.two_way(np.array([[1.0, 0.0, 1.0]]), ALONE[:3], 0)["low"] == 0
    same = s.two_way(np.zeros((3, 4)), ALONE[:4])
    assert same["difference"] == 0 and same["high"] == -same["low"] == s.wilson(0, 4)[1]


def about(trajectories, images):
    return [replace(t, sample=replace(t.sample, image=i)) for t, i in zip(trajectories, images, strict=True)]


def test_pairs_by_id_and_counts_images():
    ours, theirs = about(batch("3313"), "aabb"), batch("13313")[::-1]
    found = s.paired_difference(ours, theirs)
    assert (found["difference"], found["n"], found["clusters"], found["discordant"]) == (0.25, 4, 2, 0.75)
    gain = np.array([1, 0, -1, 1])
    assert found["p"] == s.p_value(gain, np.array([0, 0, 1, 1])) > 0.5  # two images are no four coins
    assert found["smallest"] == pytest.approx(s.detectable(4, 0.75))  # their questions are not alike: all four count
    alike = s.paired_difference(about(batch("3311"), "aabb"), batch("1111"))
    assert alike["smallest"] == pytest.approx(s.detectable(4 / 3, 0.5))  # (1/12) / (1/4) of each
    [one] = s.with_holm({"a": s.paired_difference(about(batch("333"), "aaa"), batch("111"))}).values()
    assert (one["difference"], one["low"], one["high"]) == (1, -1, 1) and one["tied"] and one["p (Holm)"] == 1
    with pytest.raises(ValueError, match="share no sample id"):
        s.paired_difference(ours, batch(["3"], name="other"))


def covered(values: np.ndarray, clusters: np.ndarray, truth: float) -> float:
    """Share of the rows of `values` whose interval holds the truth."""
    found = [s.mean_interval(row, clusters) for row in values]
    return float(np.mean([f["low"] <= truth <= f["high"] for f in found]))


@pytest.mark.slow
def test_intervals_hold_the_truth_in_95_of_100_cases():
    """Questions that are as easy as their image, five an image; then five seeds that differ by 6 points (standard
    deviation) on 100 images of three questions each."""
    rng, clusters = np.random.default_rng(1), np.repeat(np.arange(100), 5)
    easy = rng.beta(1, 1, (4000, 100))[:, clusters]
    hits = (rng.uniform(size=easy.shape) < easy).astype(float)
    assert 0.94 <= covered(hits, clusters, 0.5) <= 0.96
    assert covered(hits, ALONE[:500], 0.5) < 0.85  # the naive interval
    gains = hits - (rng.uniform(size=easy.shape) < easy)  # paired: the images' ease cancels out
    assert 0.94 <= covered(gains, clusters, 0) <= 0.96
    rng, clusters, two, questions = np.random.default_rng(2), np.repeat(np.arange(100), 3), [], []
    for _ in range(4000):
        gains = rng.normal(size=(5, 300)) + 0.06 * rng.normal(size=(5, 1)) + 0.4 * rng.normal(size=100)[clusters]
        for found, held in ((s.two_way(gains, clusters), two), (s.mean_interval(gains.mean(0), clusters), questions)):
            held.append(found["low"] <= 0 <= found["high"])
    assert 0.94 <= np.mean(two) <= 0.965 and np.mean(questions) < 0.94
