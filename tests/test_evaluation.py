"""Metrics of stored answers, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.method.metrics import change, grounding
from mags_kit.records import Region
from mags_kit.evaluation import conditions, evaluate as evaluation, tables
from mags_kit.evaluation.statistics import accuracy, paired_difference, seeds_difference


def batch(answers, drafts=None, name="s"):
    made = []
    for i, answer in enumerate(answers):
        t = make_trajectory(answer=answer, draft=(drafts or answers)[i])
        made.append(replace(t, sample=replace(t.sample, id=f"{name}{i}", image=f"{i}.jpg")))
    return made


def test_accuracy_with_wilson_interval_by_hand():
    """8 of 10: Wilson's 95% interval is 0.490 to 0.943 (Wilson 1927, eq. 8)."""
    found = accuracy(batch(["3"] * 8 + ["1"] * 2))
    assert found["accuracy"] == 0.8 and found["n"] == 10
    assert (found["low"], found["high"]) == pytest.approx((0.490, 0.943), abs=1e-3)


def test_paired_difference_by_hand():
    """Won 6, lost 1 of 20: +25 points; McNemar's exact p is 2 * (1 + 7) / 2^7 = 0.125."""
    ours = batch(["3"] * 6 + ["1"] + ["3"] * 13)
    theirs = batch(["1"] * 6 + ["3"] + ["3"] * 13)
    found = paired_difference(ours, theirs)
    assert found["difference"] == pytest.approx(0.25) and found["p"] == pytest.approx(0.125)
    assert found["low"] < 0.25 < found["high"]
    assert paired_difference(ours, ours)["difference"] == 0


def test_paired_difference_wants_the_same_samples():
    with pytest.raises(ValueError, match="same samples"):
        paired_difference(batch(["3"]), batch(["3"], name="other"))


def test_draft_changes_by_hand():
    found = evaluation.draft_changes(batch(["3", "1", "3", "1"], ["1", "3", "3", "2"]))
    assert found == {"repaired": 0.25, "broke": 0.25, "kept right": 0.25, "kept wrong": 0.25, "no draft": 0.0}


def test_there_is_something_to_look_at_even_without_drafts():
    made = batch(["3", "1", "1"], ["1", "3", "1"])
    assert [change(t) for t in evaluation.examples(made)] == ["repaired", "broke", "kept wrong"]
    assert evaluation.examples([replace(t, draft=None) for t in made]) == [replace(made[0], draft=None)]


def test_repairs_that_saw_the_target_are_shown_first():
    missed, saw = batch(["3", "3"], ["1", "1"])
    missed = replace(missed, regions=(Region((100, 100, 140, 140), "ok"),))
    assert evaluation.examples([missed, saw]) == [saw, missed]


def test_grounding_by_hand():
    table = [
        ([(0, 0, 10, 10)], 1.0, 1.0), ([(0, 0, 10, 5)], 0.5, 0.5), ([(0, 0, 20, 20)], 1.0, 0.25),
        ([(0, 0, 10, 5), (0, 5, 10, 10)], 1.0, 0.5), ([(50, 50, 60, 60)], 0.0, 0.0), ([], 0.0, 0.0),
    ]  # fmt: skip
    for regions, coverage, iou in table:
        t = make_trajectory(regions=tuple(Region(box, "ok") for box in regions))
        found = grounding(replace(t, sample=replace(t.sample, boxes=((0, 0, 10, 10),))))
        assert (found["coverage"], found["iou"]) == pytest.approx((coverage, iou)), regions


def test_tables_show_what_the_metrics_hold():
    before = {name: batch(["3", "1", "1", "1"]) for name in conditions.CONDITIONS}
    after = {name: batch(["3", "3", "3", "1"]) for name in conditions.CONDITIONS}
    found = evaluation.metrics(before, after)
    table = tables.accuracy_table(found)
    assert list(table.index) == list(conditions.CONDITIONS)
    assert table.loc[evaluation.MAIN, "after RL"].startswith("75.0 (")
    gain = found["differences"][f"{evaluation.MAIN}: after RL, less before"]
    assert gain["difference"] == 0.5
    assert tables.family_table(found).loc["count", "questions"] == 4
    assert tables.difference_table(found).iloc[-1, 0].startswith("+50.0 (")


def test_bootstrap_is_repeatable():
    rng = np.random.default_rng(0)
    ours, theirs = (batch(list(rng.choice(["3", "1"], 40))) for _ in range(2))
    assert paired_difference(ours, theirs) == paired_difference(ours, theirs)


def test_seeds_difference_by_hand():
    """Question by question over two seeds: 1, 0.5, 0 and 0 less 0; their mean is 0.375."""
    ours = [batch(["3", "3", "1", "1"]), batch(["3", "1", "1", "1"])]
    found = seeds_difference(ours, [batch(["1"] * 4)])
    assert found["difference"] == pytest.approx(0.375) and found["low"] < 0.375 < found["high"] and found["n"] == 4
    assert seeds_difference(ours, ours) == {"difference": 0, "low": 0, "high": 0, "n": 4}
