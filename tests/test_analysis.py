"""What needed the view, where a second round helps, regions, and gains of each part of the method: by hand."""

from dataclasses import replace
from itertools import product

import pytest
from test_evaluation import batch
from test_records import make_trajectory

from mags_kit.config import load_config
from mags_kit.data import drawing, scenes
from mags_kit.evaluation import analysis, tables
from mags_kit.evaluation.conditions import BICUBIC, BLANKED, DIRECT, MAIN, ONE, PLAIN, RANDOM
from mags_kit.method.metrics import verdicts
from mags_kit.records import Region

CONFIG = load_config("smoke", {"grid": "full"})
CLASSES = list(product(drawing.QUALITIES, scenes.SIZES, scenes.DENSITIES))


def answering(right) -> list:
    """Four trajectories of each class; `right(quality, size, density)` of them are right."""
    made = []
    for quality, size, density in CLASSES:
        for t in batch(["3" if i < right(quality, size, density) else "1" for i in range(4)]):
            key, meta = f"{quality}{size}{density}", {"quality": quality, "size": size, "density": density}
            made.append(
                replace(t, sample=replace(t.sample, id=key + t.sample.id, image=key + t.sample.image, meta=meta))
            )
    return made


def checkpoints():
    bicubic = {"sharp": 4, "soft": 2, "poor": 1}
    before = {name: answering(lambda *_: 1) for name in (ONE, PLAIN, BICUBIC, MAIN)}
    after = before | {
        ONE: answering(lambda quality, size, density: 4 if size == "large" else 1),
        BICUBIC: answering(lambda quality, size, density: 4 if size == "large" else bicubic[quality]),
        MAIN: answering(lambda quality, size, density: 4 if density == "sparse" or size == "large" else 3),
    }
    return {"base": before, "trained": after}


def test_which_questions_needed_the_view_by_hand():
    """One question for each way to answer at once, with a blank view, and with the real one."""
    cases = {
        "wwr": "only with the view", "rwr": "either way", "wrr": "either way", "rrr": "either way",
        "rww": "lost by looking", "rrw": "lost by looking", "www": "never", "wrw": "never",
    }  # fmt: skip
    names = (ONE, BLANKED, MAIN)
    results = {name: batch(["3" if case[i] == "r" else "1" for case in cases]) for i, name in enumerate(names)}
    found = analysis.view_needed(results)[MAIN]["examples"]
    assert found == {kind: [f"s{i}" for i, of in enumerate(cases.values()) if of == kind] for kind in analysis.NEED}


def test_shares_of_the_questions_that_needed_the_view():
    """Of ten: two only with the view, four either way, one lost, three never; 4 of 6 solved need no view."""
    right = {ONE: "3331113111", BLANKED: "3113111111", MAIN: "3333331111", RANDOM: "3333333333"}
    results = {name: batch(list(answers)) for name, answers in right.items()}
    [(name, kinds)] = analysis.view_needed(results).items()
    assert name == MAIN and [kinds[kind]["mean"] for kind in analysis.NEED] == pytest.approx([0.2, 0.4, 0.1, 0.3])
    assert kinds["of those solved, without the view"] == pytest.approx(4 / 6)
    none = analysis.view_needed({**results, MAIN: batch(["1"] * 10)})[MAIN]["only with the view"]
    assert (none["mean"], none["low"], none["high"]) == pytest.approx((0, 0, 0.278), abs=1e-3)  # Wilson's, of 0 of 10
    results[DIRECT] = batch(["1"] * 10)  # where it was evaluated, this is what "at once" means
    assert analysis.view_needed(results)[MAIN]["only with the view"]["mean"] == pytest.approx(0.4)
    assert analysis.view_needed({ONE: results[ONE], MAIN: results[MAIN]}) == {}


def test_each_part_is_measured_where_it_should_matter():
    found = analysis.component_gains(checkpoints())
    gains = {part: {v: row["difference"]["difference"] for v, row in rows.items()} for part, rows in found.items()}
    assert gains["magnifier"] == pytest.approx({"sharp": -1 / 8, "soft": 3 / 8, "poor": 5 / 8})  # 3.5 of 4, less 4, 2 and 1
    assert found["magnifier"]["soft"]["difference"]["n"] == 8  # small ones only: two densities of four
    assert gains["second round"] == pytest.approx({"small": 5 / 8, "large": 0})
    assert gains["RL"] == pytest.approx({"sparse": 3 / 4, "dense": 5 / 8})
    table = tables.component_gains_table(found)
    assert len(table) == 3 + 2 + 2
    assert table.loc[("second round", "small"), "difference, points"].startswith("+62.5 (")
    plain = {"alone": {name: [make_trajectory()] for name in (ONE, PLAIN, BICUBIC, MAIN)}}
    assert analysis.component_gains(plain) == {}  # their meta does not say what they are


def test_gains_over_seeds_by_hand():
    both = checkpoints()
    after = {0: both["trained"], 1: both["trained"] | {MAIN: both["trained"][ONE]}}
    found = analysis.component_gains_over_seeds(both["base"], after)
    assert found["RL"]["each"] == pytest.approx([11 / 16, 3 / 8])  # 15 of 16 less 4, and 10 of 16
    assert found["RL"]["value"] == pytest.approx((11 / 16 + 3 / 8) / 2) and found["RL"]["seeds"] == 2
    assert [name for name in found if name.startswith("RL, ")] == ["RL, " + both["base"][MAIN][0].sample.family]
    small, large = found["second round, small"], found["second round, large"]
    assert small["each"] == pytest.approx([5 / 8, 0]) and large["each"] == [0, 0] and small["n"] == large["n"] == 24
    magnifier = found["super-resolution, small, soft and poor"]
    assert magnifier["each"] == pytest.approx([1 / 2, -1 / 8]) and magnifier["n"] == 16  # 3.5, and 1, of 4, less 1.5
    assert found["super-resolution, small, sharp"]["each"] == pytest.approx([-1 / 8, -3 / 4])
    assert found["super-resolution, small, poor"]["n"] == 8
    table = tables.gains_over_seeds_table(found)
    assert table.loc["super-resolution, small, sharp", "each seed"] == "-12.5, -75.0"


def test_drafts_and_verdicts_over_seeds():
    def drafting(trajectories, draft):
        return {MAIN: [replace(t, draft=draft, verdict="right") for t in trajectories[MAIN]]}

    both = checkpoints()
    before, after = (both[name] | drafting(both[name], draft) for name, draft in (("base", "1"), ("trained", "3")))
    found = analysis.component_gains_over_seeds(before, {0: after})
    assert found["drafts, trained less base"]["each"] == [1]
    easy = found["drafts right, large and sharp"]
    assert (easy["value"], easy["base"], easy["n"]) == (1, 0, 8)
    assert found["right drafts kept"]["value"] == pytest.approx(15 / 16)
    assert found["verdict fits draft and answer"]["value"] == pytest.approx(15 / 16)
    assert found["verdict fits draft and answer"]["base"] == pytest.approx(3 / 4)  # where it answered "1" as well


def test_rows_that_the_samples_say_nothing_of_are_missing():
    plain = {
        name: [replace(t, sample=replace(t.sample, meta={})) for t in ts] for name, ts in checkpoints()["trained"].items()
    }
    found = analysis.component_gains_over_seeds(plain, {0: plain})
    assert not [name for name in found if "small" in name or "large" in name] and "RL" in found
    del plain[BICUBIC]
    assert analysis.component_gains_over_seeds(plain, {0: plain})["RL"]["value"] == 0


def test_all_seeds_together_by_hand():
    """Two seeds on two questions, right (1, 0) and (1, 1), the rest wrong: as in test_statistics' two ways by hand, the
    standard error is 0.25 at a third of a degree of freedom, so the interval is all that can be."""
    wrong = batch(["1", "1"])
    after = {0: {MAIN: batch(["3", "1"]), ONE: wrong, BLANKED: wrong}, 7: {MAIN: batch(["3", "3"]), ONE: wrong}}
    found = analysis.all_seeds({MAIN: batch(["3", "1"]), ONE: wrong}, after)
    assert list(found) == [MAIN, ONE]  # BLANKED was not evaluated with each
    main = found[MAIN]["accuracy"]
    assert (main["accuracy"], main["seeds"], main["n"], main["low"], main["high"]) == (0.75, 2, 2, 0, 1)
    gain, less = found[MAIN]["trained, less base"], found[ONE]["main less it"]
    assert (gain["difference"], less["difference"], less["low"], less["high"]) == (0.25, 0.75, -1, 1)
    assert gain["each"] == [0, 0.5] and "main less it" not in found[MAIN]
    table = tables.all_seeds_table(found)
    assert table.loc[ONE, "main less it, points"] == "+75.0 (-100.0 to +100.0)"
    assert table.loc[MAIN, "accuracy, %"] == "75.0 (0 to 100)"


def test_area_of_a_union_by_hand():
    table = [
        ([], 0), ([(0, 0, 10, 10)], 100), ([(0, 0, 10, 10), (5, 5, 15, 15)], 175), ([(0, 0, 10, 10)] * 2, 100),
        ([(0, 0, 10, 10), (2, 2, 4, 4)], 100), ([(0, 0, 1, 1), (5, 5, 7, 7)], 5), ([(5, 5, 0, 0), (0, 0, 2, 2)], 4),
    ]  # fmt: skip
    assert [(boxes, analysis.union(boxes)) for boxes, _ in table] == table


def test_how_well_all_regions_show_all_boxes_by_hand():
    """Boxes of 100 and 100 px, regions of 200 px that hold one of them: half covered, IoU 100 / 300."""
    t = make_trajectory(size=(100, 10), regions=(Region((0, 0, 20, 10), "ok"), Region((9, 9, 0, 0), "reversed")))
    t = replace(t, sample=replace(t.sample, boxes=((0, 0, 10, 10), (50, 0, 60, 10))))
    assert analysis.region_metrics(t) == pytest.approx({"coverage": 0.5, "IoU of the unions": 1 / 3, "area": 0.2})


def test_target_size_is_that_in_the_first_view():
    """A box of 32x32 px in an image of 384x384, which is seen at 192x192: 16 px."""
    t = make_trajectory(size=(384, 384))
    t = replace(t, sample=replace(t.sample, boxes=((0, 0, 32, 32),)))
    assert analysis.first_view_side(t, CONFIG) == 16
    assert analysis.groupings([t], CONFIG)["target in the first view"] == ["3: 16 to 32 px"]
    assert analysis.first_view_side(replace(t, size=(100, 100)), CONFIG) == 32  # not enlarged


def test_classes_by_what_meta_says():
    made = [
        replace(t, sample=replace(t.sample, boxes=(), meta={"cards": i, "quality": "soft"}))
        for i, t in enumerate(batch(["3"] * 9))
    ]
    found = analysis.groupings(made, CONFIG)
    assert list(found) == ["family", "cards"]  # no boxes; one quality only
    assert found["cards"] == ["1: up to 2.67"] * 3 + ["2: up to 5.33"] * 3 + ["3: over 5.33"] * 3


def test_rates_by_hand():
    cut = make_trajectory(lengths=(40, 5), replies=("<tool_call>", "3"))
    found = analysis.looking([cut, make_trajectory()], CONFIG)
    assert (found["truncation rate"], found["tool-call rate"], found["written tokens"]) == (0.5, 0.5, 27)


def test_verdicts_by_hand():
    """Drafts 3 (right), 3, 2, 2; answers 3, 2, 3, 2. The verdicts of the first three fit, those of 1 and 3 are true."""
    rows = [("3", "right", "3"), ("3", "wrong", "2"), ("2", "wrong", "3"), ("2", "wrong", "2"), ("2", None, "3")]
    made = [make_trajectory(draft=draft, verdict=said, answer=answer) for draft, said, answer in rows]
    assert verdicts(made) == pytest.approx({
        "verdicts given": 0.8, "verdict fits draft and answer": 0.75, "verdict true of right drafts": 0.5,
        "verdict true of wrong drafts": 1.0, "verdict true, balanced": 0.75, "drafts right": 0.5,
    })  # fmt: skip
    assert verdicts(made[-1:]) == {}
