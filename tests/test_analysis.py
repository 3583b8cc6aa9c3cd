"""What needed the view, where a second round helps, regions, and gains of each part of the method: by hand."""

from dataclasses import replace
from itertools import product

import pytest
from test_evaluation import batch
from test_records import make_trajectory

from mags_kit.config import load_config
from mags_kit.data import drawing, scenes
from mags_kit.evaluation import analysis, tables
from mags_kit.evaluation.conditions import BICUBIC, BLANKED, MAIN, ONE, PLAIN
from mags_kit.method.metrics import verdicts

CONFIG = load_config("smoke", {"grid": "full"})
CLASSES = list(product(drawing.QUALITIES, ("small", "large"), scenes.DENSITIES))


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



def test_each_part_is_measured_where_it_should_matter():
    found = analysis.component_gains(checkpoints(), CONFIG)
    gains = {part: {v: row["difference"]["difference"] for v, row in rows.items()} for part, rows in found.items()}
    assert gains["magnifier"] == pytest.approx({"sharp": -1 / 8, "soft": 3 / 8, "poor": 5 / 8})  # 3.5 of 4, less 4, 2, 1
    assert found["magnifier"]["soft"]["difference"]["n"] == 8  # small ones only: two densities of four
    assert gains["second round"] == pytest.approx({"small": 5 / 8, "large": 0})
    assert gains["RL"] == pytest.approx({"sparse": 3 / 4, "dense": 5 / 8})
    table = tables.gains_table(found)
    assert len(table) == 3 + 2 + 2
    assert table.loc[("second round", "small"), "difference, points"].startswith("+62.5 (")
    plain = {"alone": {name: [make_trajectory()] for name in (ONE, PLAIN, BICUBIC, MAIN)}}
    assert analysis.component_gains(plain, CONFIG) == {}  # their meta does not say what they are


def test_gains_over_seeds_by_hand():
    both = checkpoints()
    after = {0: both["trained"], 1: both["trained"] | {MAIN: both["trained"][ONE]}}
    found = analysis.component_gains_over_seeds(both["base"], after, CONFIG)
    assert found["RL"]["value"] == pytest.approx((11 / 16 + 3 / 8) / 2) and found["RL"]["seeds"] == 2
    table = {  # the gain of each seed, and the number of questions
        "RL": (11 / 16, 3 / 8, 48),  # 15 of 16 less 4, and 10 of 16
        "RL, " + both["base"][MAIN][0].sample.family: (11 / 16, 3 / 8, 48),
        "second round, small": (5 / 8, 0, 24), "second round, large": (0, 0, 24),
        "super-resolution, small, soft and poor": (1 / 2, -1 / 8, 16),  # 3.5, and 1, of 4, less 1.5
        "super-resolution, small, sharp": (-1 / 8, -3 / 4, 8),
    }  # fmt: skip
    assert {name: (*found[name]["each"], found[name]["n"]) for name in table} == table
    shown = tables.gains_over_seeds_table(found)
    assert shown.loc["super-resolution, small, sharp", "each seed"] == "-12.5, -75.0"


def test_drafts_and_verdicts_over_seeds():
    def drafting(trajectories, draft):
        return {MAIN: [replace(t, draft=draft, verdict="right") for t in trajectories[MAIN]]}

    both = checkpoints()
    before, after = (both[name] | drafting(both[name], draft) for name, draft in (("base", "1"), ("trained", "3")))
    found = analysis.component_gains_over_seeds(before, {0: after}, CONFIG)
    assert found["drafts, trained less base"]["each"] == [1]
    easy, fits = found["drafts right, large and sharp"], found["verdict fits draft and answer"]
    assert (easy["value"], easy["base"], easy["n"]) == (1, 0, 8)
    kept = found["right drafts kept"]
    assert (kept["value"], kept["base"]) == (pytest.approx(15 / 16), None)  # the base has no right draft
    assert (fits["value"], fits["base"]) == pytest.approx((15 / 16, 3 / 4))  # the base's where it answered "1" as well


def test_rows_that_the_samples_say_nothing_of_are_missing():
    results = {name: [replace(t, sample=replace(t.sample, meta={})) for t in batch("13")] for name in (ONE, MAIN)}
    found = analysis.component_gains_over_seeds(results, {0: results}, CONFIG)
    assert not [name for name in found if "small" in name or "large" in name] and found["RL"]["value"] == 0


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


def test_classes_by_family_meta_and_target_size():
    """A box of 32x32 px in an image of 384x384, which is seen at 192x192: 16 px; a smaller image is not enlarged."""
    t = make_trajectory(size=(384, 384))
    t = replace(t, sample=replace(t.sample, boxes=((0, 0, 32, 32),), meta={"quality": "soft", "cards": 3}))
    small = replace(t, size=(100, 100), sample=replace(t.sample, id="small"))
    found = analysis.by_class([t, small], CONFIG)
    assert {grouping: {name: ids for name, ids in of.items() if ids} for grouping, of in found.items()} == {
        "family": {t.sample.family: {t.sample.id, "small"}}, "quality": {"soft": {t.sample.id, "small"}},
        "target in the first view": {"16 to 32 px": {t.sample.id}, "over 32 px": {"small"}}, "size": {}, "density": {},
    }  # fmt: skip


def test_rates_by_hand():
    cut = make_trajectory(lengths=(40, 5), replies=("<tool_call>", "3"))
    found = analysis.looking([cut, make_trajectory()], CONFIG.round_tokens)
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
