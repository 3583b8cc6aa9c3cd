"""What was needed, where it helps, how it looked: by hand; and the tables and charts of it."""

from dataclasses import replace

import numpy as np
import pytest
from test_evaluation import batch
from test_records import make_trajectory
from test_rescore import make

from mags_kit.config import load_config
from mags_kit.records import Region, read_json
from mags_kit.viz import charts
from mags_kit.evaluation import analysis as findings, tables
from mags_kit.evaluation.conditions import BLANKED, DIRECT, MAIN, ONE, RANDOM

CONFIG = load_config("smoke", {"grid": "full"})


def test_needs_by_hand():
    cases = {  # direct, blank, real
        (0, 0, 1): "only with the view", (1, 0, 1): "either way", (0, 1, 1): "either way", (1, 1, 1): "either way",
        (1, 0, 0): "lost by looking", (1, 1, 0): "lost by looking", (0, 0, 0): "never", (0, 1, 0): "never",
    }  # fmt: skip
    assert findings.needs(*np.array(list(cases), bool).T).tolist() == list(cases.values())


def test_what_was_needed_is_told_for_conditions_with_a_real_view():
    """Of ten: two only with the view, four either way, one lost, three never; 4 of 6 solved need no view."""
    right = {ONE: "rrrwwwrwww", BLANKED: "rwwrwwwwww", MAIN: "rrrrrrwwww", RANDOM: "rrrrrrrrrr"}
    results = {name: batch([{"r": "3", "w": "1"}[v] for v in verdicts]) for name, verdicts in right.items()}
    [(name, kinds)] = findings.needed(results).items()
    assert name == MAIN and [kinds[kind]["mean"] for kind in findings.NEED] == pytest.approx([0.2, 0.4, 0.1, 0.3])
    assert kinds["of those solved, without the view"] == pytest.approx(4 / 6)
    none = findings.needed({**results, MAIN: batch(["1"] * 10)})[MAIN]["only with the view"]
    assert (none["mean"], none["low"], none["high"]) == pytest.approx((0, 0, 0.278), abs=1e-3)  # Wilson's, of 0 of 10
    assert kinds["examples"]["only with the view"] == ["s4", "s5"] and kinds["examples"]["lost by looking"] == ["s6"]
    results[DIRECT] = batch(["1"] * 10)  # an answer without reasoning is what "at once" means, where it was asked for
    assert findings.needed(results)[MAIN]["only with the view"]["mean"] == pytest.approx(0.4)
    assert findings.needed({ONE: results[ONE], MAIN: results[MAIN]}) == {}


def test_all_seeds_together_by_hand():
    """Two seeds on two questions, right (1, 0) and (1, 1), the rest wrong: as in test_statistics' two ways by hand, the
    standard error is 0.25 at a third of a degree of freedom, so the interval is all that can be."""
    wrong = batch(["1", "1"])
    after = {0: {MAIN: batch(["3", "1"]), ONE: wrong, BLANKED: wrong}, 7: {MAIN: batch(["3", "3"]), ONE: wrong}}
    found = findings.all_seeds({MAIN: batch(["3", "1"]), ONE: wrong}, after)
    assert list(found) == [MAIN, ONE]  # BLANKED was not measured with each
    main = found[MAIN]["accuracy"]
    assert (main["accuracy"], main["seeds"], main["n"], main["low"], main["high"]) == (0.75, 2, 2, 0, 1)
    gain, less = found[MAIN]["after RL, less before"], found[ONE]["main less it"]
    assert (gain["difference"], less["difference"], less["low"], less["high"]) == (0.25, 0.75, -1, 1)
    assert found[ONE]["accuracy"]["high"] == 0 and "main less it" not in found[MAIN]
    table = tables.all_seeds_table(found)
    assert table.loc[ONE, "main less it, points"] == "+75.0 (-100.0 to +100.0)"
    assert table.loc[MAIN, "accuracy, %"] == "75.0 (0 to 100)"


def test_where_neither_seeds_nor_questions_differ_the_interval_is_a_point():
    """Four seeds of 8 questions, each right on a half of its own: all means over seeds and over questions are 0.5."""
    halves = ["33331111", "11113333", "33113311", "11331133"]
    found = findings.all_seeds({}, {seed: {MAIN: batch(list(text))} for seed, text in enumerate(halves)})
    level = found[MAIN]["accuracy"]
    assert level["accuracy"] == 0.5 and (level["low"], level["high"]) == pytest.approx((0.5, 0.5))
    with_one = findings.all_seeds({}, {0: {MAIN: batch(list(halves[0]))}})[MAIN]["accuracy"]
    assert (with_one["low"], with_one["high"]) == (0, 1)  # one seed tells nothing of others


@pytest.mark.parametrize(
    "boxes, expected",
    [
        ([], 0), ([(0, 0, 10, 10)], 100), ([(0, 0, 10, 10), (5, 5, 15, 15)], 175), ([(0, 0, 10, 10)] * 2, 100),
        ([(0, 0, 10, 10), (2, 2, 4, 4)], 100), ([(0, 0, 1, 1), (5, 5, 7, 7)], 5), ([(5, 5, 0, 0), (0, 0, 2, 2)], 4),
    ],
)  # fmt: skip
def test_union_by_hand(boxes, expected):
    assert findings.union(boxes) == expected


def test_how_well_all_regions_show_all_boxes_by_hand():
    """Boxes of 100 and 100 px, regions of 200 px that hold one of them: half covered, IoU 100 / 300."""
    t = make_trajectory(size=(100, 10), regions=(Region((0, 0, 20, 10), "ok"), Region((9, 9, 0, 0), "reversed")))
    t = replace(t, sample=replace(t.sample, boxes=((0, 0, 10, 10), (50, 0, 60, 10))))
    assert findings.seen(t) == pytest.approx({"coverage": 0.5, "IoU of the unions": 1 / 3, "area": 0.2})


def test_target_size_is_that_in_the_first_view():
    """A box of 32x32 px in an image of 384x384, which is seen at 192x192: 16 px."""
    t = make_trajectory(size=(384, 384))
    t = replace(t, sample=replace(t.sample, boxes=((0, 0, 32, 32),)))
    assert findings.first_view_side(t, CONFIG) == 16
    assert findings.groupings([t], CONFIG)["target in the first view"] == ["3: 16 to 32 px"]
    assert findings.first_view_side(replace(t, size=(100, 100)), CONFIG) == 32  # not enlarged


def test_classes_by_what_meta_says():
    made = [
        replace(t, sample=replace(t.sample, boxes=(), meta={"cards": i, "quality": "soft"}))
        for i, t in enumerate(batch(["3"] * 9))
    ]
    found = findings.groupings(made, CONFIG)
    assert list(found) == ["family", "cards"]  # no boxes; one quality only
    assert found["cards"] == ["1: up to 2.67"] * 3 + ["2: up to 5.33"] * 3 + ["3: over 5.33"] * 3


def test_rates_by_hand():
    cut = make_trajectory(lengths=(40, 5), replies=("<tool_call>", "3"))
    found = findings.looking([cut, make_trajectory()], CONFIG)
    assert (found["truncation rate"], found["tool-call rate"], found["written tokens"]) == (0.5, 0.5, 27)


def test_tables_and_charts_show_the_findings(tmp_path):
    run = make(tmp_path / "runs" / "r")
    metrics, found = read_json(run.metrics), read_json(run.path / "findings.json")
    costs = {"after": {name: {"visual tokens a question": 50, "ms a question": 2.0, "looks a question": 1.0,
                              "ms of enlarging a question": 1.0} for name in (ONE, MAIN)}}  # fmt: skip
    grid = tables.save(tables.grid_table(metrics, found, "after"), run, "03_grid")
    assert grid.loc[ONE, "told apart"] == "more" and grid.loc[MAIN, "told apart"] == "" and "images" in grid.columns
    assert run.path.joinpath("tables/03_grid.csv").read_text().startswith(',"accuracy, %",n,')
    assert r"accuracy, \%" in run.path.joinpath("tables/03_grid.tex").read_text()
    assert tables.needed_table(found).loc[f"after RL: {MAIN}", "of those solved, without it"] == "21"  # 4 of 19
    assert "test-00001" in tables.examples_table(found, "after").loc["only with the view", "for example"]
    assert tables.where_table(found, "after").loc[("family", "count"), "questions"] == 24
    assert tables.looking_table(found, "after", costs).loc[MAIN, "ms a question"] == 2
    for chart in (
        charts.show_needed(found, "after", "t"), charts.show_where(found, "after", "t"),
        charts.show_costs(metrics, found, costs, "after", "t"),
    ):  # fmt: skip
        assert chart._repr_png_().startswith(b"\x89PNG")
