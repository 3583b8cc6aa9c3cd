from dataclasses import replace

import pytest
from test_draw import HOSTILE, Read, check_harmless, folder, hostile  # noqa: F401
from test_evaluation import batch
from test_records import make_trajectory

from mags_kit.viz.inspector import ORDERS, Inspector


@pytest.fixture
def inspector(folder):
    """Four questions of the trained policy (repaired, broke, kept right, kept wrong), two of them of the base, too."""
    trained = [
        replace(t, sample=replace(t.sample, family=family), rewards={"total": i / 4})
        for i, (t, family) in enumerate(zip(batch(["3", "1", "3", "1"], ["1", "3", "3", "2"]), "ccoo", strict=True))
    ]
    return Inspector({"base": trained[:2], "trained": trained}, folder)


def ids(inspector) -> str:
    return " ".join(t.sample.id for t in inspector.listed())


def test_filters_choose_together_and_are_lifted(inspector):
    cases = (
        ({}, "s0 s1 s2 s3"), ({"answer": "right"}, "s0 s2"), ({"answer": "wrong", "family": "o"}, "s3"),
        ({"second look": "repaired"}, "s0"), ({"second look": "broke"}, "s1"), ({"checkpoint": "base"}, "s0 s1"),
        ({"checkpoint": "all"}, "s0 s1 s0 s1 s2 s3"), ({"regions": "ok", "answer": "right"}, "s0 s2"),
    )  # fmt: skip
    found = {}
    for wanted, _ in cases:
        for name, filter_ in inspector.filters.items():
            filter_.value = wanted.get(name, "trained" if name == "checkpoint" else "all")
        found[str(wanted)] = ids(inspector)
    assert found == {str(wanted): expected for wanted, expected in cases}


def test_next_previous_jump_and_find(inspector):
    inspector.on.click()
    assert inspector.current.sample.id == "s1" and inspector.number.value == 2
    inspector.back.click()
    inspector.back.click()
    assert inspector.current.sample.id == "s3" and "4 of 4: s3, trained" in Read(inspector.label.value).text
    inspector.number.value = 3  # as the mouse does, the arrow keys, or a number that is typed
    assert inspector.current.sample.id == "s2"
    with pytest.raises(ValueError, match="'nix' is not in list"):
        inspector.find("nix")
    inspector.find("s1")
    assert inspector.number.value == 2
    inspector.filters["second look"].value = "broke"
    assert inspector.number.layout.visibility == "hidden" and inspector.current.sample.id == "s1"


def test_widgets_filter_sort_and_search(inspector):
    inspector.filters["answer"].value = "wrong"
    assert ids(inspector) == "s1 s3"
    assert dict(map(reversed, inspector.filters["second look"].options))["repaired"] == "repaired (2)"
    assert inspector.filters["regions"].layout.display == "none"  # all have the same
    inspector.filters["answer"].value = "all"
    inspector.order.value = "reward, highest first"
    assert ids(inspector).startswith("s3")
    for word, expected in {"S2 ": "s2", "<draft>": "s3 s2 s1 s0", "nowhere": ""}.items():
        inspector.word.value = word
        assert ids(inspector) == expected
    assert inspector.current is None and "no match" in inspector.label.value and not inspector.panel.value
    inspector.on.click()
    with pytest.raises(ValueError, match="no trajectory is shown"):
        inspector.sheet()
    inspector.word.value = ""
    assert inspector.current.sample.id == "s3"


def test_checkpoints_stand_side_by_side_and_in_the_sheet(inspector):
    made = Read(inspector.panel.value)
    assert [tag for tag, _ in made.tags].count("section") == 2 and "base" in made.text and "trained" in made.text
    both = inspector.sheet()
    inspector.both.value = False
    assert Read(inspector.panel.value).text.count("round 1") == 1 and inspector.sheet().height < both.height
    inspector.both.value = True
    inspector.find("s2")  # the base has no such one
    assert list(inspector.seen()) == ["trained"]


def test_every_order_and_filter_takes_a_trajectory_that_lacks_everything_or_is_hostile(folder):
    bare = make_trajectory(regions=(), views=(), draft=None, answer=None, replies=("",), outcome="no_call")
    bare = replace(bare, sample=replace(bare.sample, boxes=(), meta={}))
    inspector = Inspector({"test": [bare, make_trajectory()]}, folder)
    for order in ORDERS:
        inspector.order.value = order
        assert len(inspector.shown) == 2, order
    assert Inspector({}, folder).current is None
    inspector = Inspector({"b": [make_trajectory()], "a": [hostile()]}, folder)
    for value in (inspector.panel.value, inspector.label.value):
        assert HOSTILE in check_harmless(value).text


def test_an_image_that_is_gone_is_a_sentence(inspector, folder):
    (folder / "1.jpg").unlink()
    inspector.on.click()
    assert "no such image" in Read(inspector.panel.value).text and inspector.current.sample.id == "s1"
