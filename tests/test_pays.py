"""Whether each part pays, over all seeds, by hand."""

from dataclasses import replace

import pytest
from test_worth import checkpoints

from mags_kit.evaluation import pays
from mags_kit.evaluation.conditions import BICUBIC, MAIN, ONE


def test_each_row_by_hand():
    both = checkpoints()
    after = {0: both["after"], 1: both["after"] | {MAIN: both["after"][ONE]}}
    found = pays.pays(both["before"], after)
    assert found["RL"]["each"] == pytest.approx([11 / 16, 3 / 8])  # see test_worth: 15 of 16 less 4, and 10 of 16
    assert found["RL"]["value"] == pytest.approx((11 / 16 + 3 / 8) / 2) and found["RL"]["seeds"] == 2
    assert [name for name in found if name.startswith("RL, ")] == ["RL, " + both["before"][MAIN][0].sample.family]
    small, large = found["second round, small"], found["second round, large"]
    assert small["each"] == pytest.approx([5 / 8, 0]) and large["each"] == [0, 0] and small["n"] == large["n"] == 24
    glass = found["super-resolution, small, soft and poor"]
    assert glass["each"] == pytest.approx([1 / 2, -1 / 8]) and glass["n"] == 16  # 3.5, and 1, of 4, less 1.5
    assert found["super-resolution, small, sharp"]["each"] == pytest.approx([-1 / 8, -3 / 4])
    assert found["super-resolution, small, poor"]["n"] == 8
    table = pays.pays_table(found)
    assert table.loc["super-resolution, small, sharp", "each seed"] == "-12.5, -75.0"


def test_drafts_and_verdicts_are_counted_before_and_after():
    def drafting(trajectories, drafts):
        return [replace(t, draft=d, verdict="right") for t, d in zip(trajectories, drafts, strict=True)]

    both = checkpoints()
    wrong, good = ["1"] * len(both["before"][MAIN]), ["3"] * len(both["before"][MAIN])
    before = both["before"] | {MAIN: drafting(both["before"][MAIN], wrong)}
    after = {0: both["after"] | {MAIN: drafting(both["after"][MAIN], good)}}
    found = pays.pays(before, after)
    assert found["drafts, after RL less before"]["each"] == [1]
    assert (found["drafts right, large and sharp"]["value"], found["drafts right, large and sharp"]["before"]) == (1, 0)
    assert found["right drafts kept"]["value"] == pytest.approx(15 / 16)
    assert found["verdict fits draft and answer"]["value"] == pytest.approx(15 / 16)
    assert found["verdict fits draft and answer"]["before"] == pytest.approx(3 / 4)  # where it answered "1" as well


def test_rows_that_the_samples_say_nothing_of_are_missing():
    both = checkpoints()
    plain = {name: [replace(t, sample=replace(t.sample, meta={})) for t in ts] for name, ts in both["after"].items()}
    found = pays.pays(plain, {0: plain})
    assert not [name for name in found if "small" in name or "large" in name] and "RL" in found
    del plain[BICUBIC]
    assert pays.pays(plain, {0: plain})["RL"]["value"] == 0
