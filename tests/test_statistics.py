"""Every statistic by hand, and what intervals promise held against simulated data."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from test_evaluation import batch

from mags_kit.evaluation import statistics as s

ALONE = np.arange(1000)


def test_without_shared_images_the_clustered_error_is_the_usual_one():
    """0, 0, 1, 1: s = 0.577, s / sqrt(4) = 0.289; t with 3 degrees of freedom reaches 3.182 of it."""
    found = s.mean_interval(np.array([0, 0, 1, 1]), ALONE[:4])
    assert (found["mean"], found["clusters"], found["n"]) == (0.5, 4, 4)
    assert found["se"] == pytest.approx(0.288675) and found["high"] == pytest.approx(0.5 + 3.182446 * 0.288675)


def test_clustered_error_by_hand():
    """Clusters (1, 1), (0, 0) and (1, 0) about a mean of 0.5 sum to 1, -1 and 0: sqrt(3/2 * 2) / 6 = 0.2887; the naive
    error would be sqrt(0.3 / 6) = 0.2236."""
    values, clusters = np.array([1, 1, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 2])
    assert s.mean_interval(values, clusters)["se"] == pytest.approx(3**0.5 / 6)
    assert s.mean_interval(values, ALONE[:6])["se"] == pytest.approx(0.05**0.5)


def test_one_cluster_tells_nothing_of_the_spread():
    found = s.mean_interval(np.array([1.0, 0.0]), np.zeros(2, int))
    assert found["clusters"] == 1 and np.isnan(found["se"]) and np.isnan(found["low"])


def test_a_share_that_is_0_or_1_or_of_few_images_has_wilsons_interval_over_images():
    none, some = np.zeros(90), np.tile([1.0, 0, 0], 30)
    assert s.share(none, ALONE[:90])["high"] == pytest.approx(0.0409, abs=1e-4)
    shared = s.share(none, np.repeat(np.arange(10), 9))
    assert (shared["low"], shared["high"]) == (0, pytest.approx(0.278, abs=1e-3))  # 0 of 10 images
    few, enough = s.share(some, np.repeat(np.arange(10), 9)), s.share(some, np.repeat(np.arange(30), 3))
    assert (few["low"], few["high"]) == pytest.approx(s.wilson(10 / 3, 10))
    assert (enough["low"], enough["high"]) == pytest.approx(s.wilson(10, 30))  # each image holds the same: no spread
    plain = s.share(some, ALONE[:90])
    assert plain["high"] - plain["mean"] == pytest.approx(stats.t.ppf(0.975, 89) * (2 / 9 / 89) ** 0.5)


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
    for p, adjusted in [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 * .005, 3 * .01, 2 * .03, and not below that
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ]:
        found = s.with_holm({str(i): {"p": value, "low": 0, "high": 1} for i, value in enumerate(p)})
        assert [row["p (Holm)"] for row in found.values()] == pytest.approx(adjusted), p


def test_tied_is_said_where_holm_or_the_interval_does_not_part_them():
    rows = {"a": {"p": 0.03, "low": 0.01, "high": 0.2}, "b": {"p": 0.02, "low": 0.01, "high": 0.2}}
    assert [row["tied"] for row in s.with_holm(rows).values()] == [False, False]
    rows["c"] = {"p": 0.4, "low": -0.1, "high": 0.2}
    assert [row["tied"] for row in s.with_holm(rows).values()] == [True, True, True]  # 2 * 0.03 and 3 * 0.02


def test_detectable_by_hand():
    """(1.960 + 0.842) * sqrt(0.4 / 900) = 5.9 points."""
    assert s.detectable(900, 0.4) == pytest.approx(0.0591, abs=1e-4)
    assert s.detectable(300, 0.0) == 0


def test_the_detectable_difference_is_found_four_times_in_five():
    n, discordant = 900, 0.4
    share = (1 + s.detectable(n, discordant) / discordant) / 2  # of the discordant questions that ours wins
    rng = np.random.default_rng(0)
    told_apart = rng.binomial(n, discordant, 4000)
    won = rng.binomial(told_apart, share)
    found = np.abs(2 * won - told_apart) / np.sqrt(told_apart) > stats.norm.ppf(0.975)  # McNemar's test
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_two_ways_by_hand():
    """Two seeds on two questions, gains (1, 0) and (1, 1): questions' means 1 and 0.5, seeds' 0.5 and 1. Their
    variances of the mean are 0.0625 each; the rest is 0.25 everywhere, and holds 0.0625 of both."""
    found = s.two_way(np.array([[1, 0], [1, 1]]), ALONE[:2])
    assert found["difference"] == 0.75 and (found["seeds"], found["n"], found["clusters"]) == (2, 2, 2)
    freedom = 0.0625**2 / (3 * 0.0625**2)
    assert found["high"] - 0.75 == pytest.approx(stats.t.ppf(0.975, freedom) * 0.25)


def test_one_seed_tells_nothing_of_others_and_runs_without_a_difference_still_have_an_interval():
    assert np.isnan(s.two_way(np.array([[1.0, 0.0, 1.0]]), ALONE[:3])["low"])
    same = s.two_way(np.zeros((3, 4)), ALONE[:4])
    assert same["difference"] == 0 and same["high"] == -same["low"] == s.wilson(0, 4)[1]


def test_questions_about_one_image_tell_nothing_of_others():
    """Three of three won, all about one image: no spread is known, so nothing is significant."""
    ours, theirs = ([replace(t, sample=replace(t.sample, image="a.jpg")) for t in batch([a] * 3)] for a in "31")
    [found] = s.with_holm({"a": s.paired_difference(ours, theirs)}).values()
    assert (found["difference"], found["low"], found["high"]) == (1, -1, 1) and found["tied"] and found["p (Holm)"] == 1


def test_pairs_by_id_and_counts_images():
    ours, theirs = batch(["3", "3", "1", "3"]), batch(["1", "3", "3", "1", "3"])[::-1]
    ours = [replace(t, sample=replace(t.sample, image=f"{i // 2}.jpg")) for i, t in enumerate(ours)]
    found = s.paired_difference(ours, theirs)
    assert (found["difference"], found["n"], found["clusters"], found["discordant"]) == (0.25, 4, 2, 0.75)
    gain = np.array([1, 0, -1, 1])
    assert found["p"] == s.p_value(gain, np.array([0, 0, 1, 1])) > 0.5  # two images are no four coins
    assert found["smallest"] == pytest.approx(s.detectable(4, 0.75))  # their questions are not alike: all four count
    alike = [[replace(t, answer=a) for t, a in zip(ours, answers, strict=True)] for answers in ("3311", "1111")]
    assert s.paired_difference(*alike)["smallest"] == pytest.approx(s.detectable(4 / 3, 0.5))  # (1/12) / (1/4) of each
    with pytest.raises(ValueError, match="share no sample id"):
        s.paired_difference(ours, batch(["3"], name="other"))


def covered(values: np.ndarray, clusters: np.ndarray, truth: float) -> float:
    """Share of the rows of `values` whose interval holds the truth."""
    found = [s.mean_interval(row, clusters) for row in values]
    return float(np.mean([f["low"] <= truth <= f["high"] for f in found]))


@pytest.mark.slow
def test_intervals_hold_the_truth_in_95_of_100_cases():
    """Shares of right answers; then five questions an image, of which some images are easy and some hard."""
    rng = np.random.default_rng(1)
    hits = (rng.uniform(size=(4000, 300)) < 0.6).astype(float)
    assert 0.94 <= covered(hits, ALONE[:300], 0.6) <= 0.96
    clusters = np.repeat(np.arange(100), 5)
    easy = rng.beta(1, 1, (4000, 100))[:, clusters]
    hits = (rng.uniform(size=easy.shape) < easy).astype(float)
    assert 0.94 <= covered(hits, clusters, 0.5) <= 0.96
    assert covered(hits, ALONE[:500], 0.5) < 0.85  # the naive interval
    gains = hits - (rng.uniform(size=easy.shape) < easy)  # paired: the images' ease cancels out
    assert 0.94 <= covered(gains, clusters, 0) <= 0.96


@pytest.mark.slow
def test_the_two_way_interval_holds_for_other_seeds_and_questions():
    """Five seeds that differ by 6 points (standard deviation) on 100 images of three questions each."""
    rng, clusters = np.random.default_rng(2), np.repeat(np.arange(100), 3)
    two, questions = [], []
    for _ in range(4000):
        gains = rng.normal(size=(5, 300)) + 0.06 * rng.normal(size=(5, 1)) + 0.4 * rng.normal(size=100)[clusters]
        for found, held in ((s.two_way(gains, clusters), two), (s.mean_interval(gains.mean(0), clusters), questions)):
            held.append(found["low"] <= 0 <= found["high"])
    assert 0.94 <= np.mean(two) <= 0.965 and np.mean(questions) < 0.94
