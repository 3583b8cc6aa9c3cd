"""When each part pays, and how verdicts turn out: by hand, and as pictures."""

from dataclasses import replace
from itertools import product

import pytest
from test_records import make_trajectory

from mags_kit.method.metrics import verdicts
from mags_kit.evaluation import analysis as findings, tables
from mags_kit.evaluation.conditions import BICUBIC, MAIN, ONE, PLAIN
from mags_kit.data import drawing, scenes

CLASSES = list(product(drawing.QUALITIES, scenes.SIZES, scenes.DENSITIES))


def answering(right) -> list:
    """Four trajectories of each class; `right(quality, size, density)` of them are right."""
    made, one = [], make_trajectory()
    for quality, size, density in CLASSES:
        for i in range(4):
            meta = {"quality": quality, "size": size, "density": density}
            sample = replace(
                one.sample, id=f"{quality} {size} {density} {i}", image=f"{quality}{size}{density}{i}", meta=meta
            )
            answer = "3" if i < right(quality, size, density) else "1"
            made.append(replace(one, sample=sample, answer=answer))
    return made


def checkpoints():
    glass = {"sharp": 4, "soft": 2, "poor": 1}
    before = {name: answering(lambda *_: 1) for name in (ONE, PLAIN, BICUBIC, MAIN)}
    after = before | {
        ONE: answering(lambda quality, size, density: 4 if size == "large" else 1),
        BICUBIC: answering(lambda quality, size, density: 4 if size == "large" else glass[quality]),
        MAIN: answering(lambda quality, size, density: 4 if density == "sparse" or size == "large" else 3),
    }
    return {"before": before, "after": after}


def test_each_part_is_measured_where_it_should_matter():
    found = findings.worth(checkpoints())
    glass = {quality: row["difference"]["difference"] for quality, row in found["glass"].items()}
    assert glass == pytest.approx({"sharp": -1 / 8, "soft": 3 / 8, "poor": 5 / 8})  # 3.5 of 4, less 4, 2 and 1
    assert found["glass"]["soft"]["difference"]["n"] == 8  # small ones only: two densities of four
    second = {size: row["difference"]["difference"] for size, row in found["second round"].items()}
    assert second == pytest.approx({"small": 5 / 8, "large": 0})
    assert {density: row["difference"]["difference"] for density, row in found["RL"].items()} == pytest.approx(
        {"sparse": 3 / 4, "dense": 5 / 8}
    )


def test_it_is_not_measured_where_samples_do_not_say():
    assert findings.worth({"alone": {name: [make_trajectory()] for name in (ONE, PLAIN, BICUBIC, MAIN)}}) == {}


def test_it_is_shown_as_a_table():
    table = tables.worth_table(findings.worth(checkpoints()))
    assert table.shape == (3 + 2 + 2, 4)
    assert table.loc[("second round", "small"), "difference, points"].startswith("+62.5 (")


def test_verdicts_by_hand():
    """Drafts 3 (right), 3, 2, 2; answers 3, 2, 3, 2. The verdicts of the first three fit, those of 1 and 3 are true."""
    rows = [("3", "right", "3"), ("3", "wrong", "2"), ("2", "wrong", "3"), ("2", "wrong", "2"), ("2", None, "3")]
    made = [make_trajectory(draft=draft, verdict=said, answer=answer) for draft, said, answer in rows]
    assert verdicts(made) == pytest.approx({
        "verdicts given": 0.8, "verdict fits draft and answer": 0.75, "verdict true of right drafts": 0.5,
        "verdict true of wrong drafts": 1.0, "verdict true, balanced": 0.75, "drafts right": 0.5,
    })  # fmt: skip
    assert verdicts(made[-1:]) == {}
