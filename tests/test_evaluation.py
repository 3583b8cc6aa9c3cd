"""Metrics of stored answers, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.method.metrics import change, grounding
from mags_kit.records import Region
from mags_kit.evaluation import conditions, evaluate as evaluation, tables
from mags_kit.evaluation.conditions import MAIN, ONE
from mags_kit.evaluation.statistics import mean_interval


def batch(answers, drafts=None, name="s"):
    made = []
    for i, answer in enumerate(answers):
        t = make_trajectory(answer=answer, draft=(drafts or answers)[i])
        made.append(replace(t, sample=replace(t.sample, id=f"{name}{i}", image=f"{i}.jpg")))
    return made


def test_metrics_have_clustered_intervals():
    """80 questions, two an image: the intervals are those of the images."""
    results = {MAIN: batch(["3", "3", "1", "3"] * 20), ONE: batch(["1", "3", "1", "1"] * 20)}
    for name, made in results.items():
        results[name] = [replace(t, sample=replace(t.sample, image=f"{i // 2}.jpg")) for i, t in enumerate(made)]
    found = evaluation.metrics({"alone": results})
    level, gain = found["conditions"]["alone"][ONE], found["differences"][f"{MAIN}, less {ONE}"]
    assert (gain["difference"], gain["clusters"]) == (0.5, 40)
    hand = mean_interval(np.tile([0, 1, 0, 0], 20), np.arange(80) // 2)
    assert (level["low"], level["high"]) == (hand["low"], hand["high"]) and level["n"] == 80


def test_draft_changes_by_hand():
    found = evaluation.summary(batch(["3", "1", "3", "1"], ["1", "3", "3", "2"]))["drafts"]
    assert found == {"repaired": 0.25, "broke": 0.25, "kept right": 0.25, "kept wrong": 0.25, "no draft": 0.0}


def test_examples_show_repairs_that_saw_the_target_first_and_something_without_drafts():
    made = batch(["3", "1", "1", "3"], ["1", "3", "1", "1"])
    made[0] = replace(made[0], regions=(Region((100, 100, 140, 140), "ok"),))
    assert evaluation.examples(made) == [made[3], made[0], made[1], made[2]]
    assert [change(t) for t in evaluation.examples(made)] == ["repaired", "repaired", "broke", "kept wrong"]
    assert evaluation.examples([replace(t, draft=None) for t in made]) == [replace(made[0], draft=None)]


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
    letters = {"base": ["3", "1", "1", "1"], "trained": ["3", "3", "3", "1"]}
    found = evaluation.metrics({c: {name: batch(a) for name in conditions.CONDITIONS} for c, a in letters.items()})
    table = tables.accuracy_table(found)
    assert list(table.index) == list(conditions.CONDITIONS) and table.loc[MAIN, "trained"].startswith("75.0 (")
    assert found["differences"][f"{MAIN}: trained, less base"]["difference"] == 0.5
    assert tables.family_table(found).loc["count", "questions"] == 4
    assert "kinds" not in found["conditions"]["base"][MAIN]
    assert tables.difference_table(found).iloc[-1, 0].startswith("+50.0 (")


def test_kinds_of_questions_are_rows_of_their_own_clustered_by_image():
    """20 questions of each kind, in four orders of their options: as many images as questions."""
    asked = [(f"{i // 4}.jpg", kind, "3" if i % 8 < 4 else "1") for kind in ("FSP", "FCP") for i in range(160)]
    made = batch([answer for _, _, answer in asked])
    turns = [
        replace(t, sample=replace(t.sample, image=image, family="HR-Bench 4k", meta={"kind": kind}))
        for t, (image, kind, _) in zip(made, asked, strict=True)
    ]  # fmt: skip
    found = evaluation.metrics({"alone": dict.fromkeys(conditions.CONDITIONS, turns)})
    kinds = found["conditions"]["alone"][MAIN]["kinds"]
    assert list(kinds) == ["HR-Bench 4k: FCP", "HR-Bench 4k: FSP"]
    hand = mean_interval(np.tile([1, 0], 20), np.arange(40), 0)
    for kind in kinds.values():
        assert (kind["n"], kind["accuracy"]) == (160, 0.5)
        assert (kind["low"], kind["high"]) == pytest.approx((hand["low"], hand["high"]))
    assert tables.family_table(found)["questions"].to_dict() == {"HR-Bench 4k": 320, **dict.fromkeys(kinds, 160)}
