from dataclasses import replace

import pytest
from PIL import Image
from test_draw import HOSTILE, Read, check_harmless, hostile
from test_evaluation import batch
from test_records import make_trajectory
from timing import fastest

from mags_kit.records import Region
from mags_kit.viz.inspector import ORDERS, Inspector


@pytest.fixture
def folder(tmp_path):
    for name in "a0123":
        Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / f"{name}.jpg")
    return tmp_path


@pytest.fixture
def inspector(folder):
    """Four questions of the trained policy (repaired, broke, kept right, kept wrong), the first two of them of the base, too."""
    after = [
        replace(t, sample=replace(t.sample, family=family), rewards={"total": i / 4})
        for i, (t, family) in enumerate(zip(batch(["3", "1", "3", "1"], ["1", "3", "3", "2"]), "ccoo", strict=True))
    ]
    return Inspector({"base": after[:2], "trained": after}, folder)


def ids(inspector) -> str:
    return " ".join(t.sample.id for t in inspector.listed())


def test_filters_choose_together_and_are_lifted(inspector):
    cases = (
        ({}, "s0 s1 s2 s3"), ({"answer": "right"}, "s0 s2"), ({"answer": "wrong", "family": "o"}, "s3"),
        ({"second_look": "repaired"}, "s0"), ({"second look": "broke"}, "s1"), ({"checkpoint": "base"}, "s0 s1"),
        ({"checkpoint": "all"}, "s0 s1 s0 s1 s2 s3"), ({"regions": "ok", "answer": "right"}, "s0 s2"),
    )  # fmt: skip
    found = {}
    for wanted, _ in cases:
        inspector.keep(**wanted)
        found[str(wanted)] = ids(inspector)
        inspector.keep(**dict.fromkeys(wanted, "all") | {"checkpoint": "trained"})
    assert found == {str(wanted): expected for wanted, expected in cases}


def test_next_previous_and_jump(inspector):
    inspector.on.click()
    assert inspector.current.sample.id == "s1" and inspector.number.value == 2
    inspector.back.click()
    inspector.back.click()
    assert inspector.current.sample.id == "s3" and "4 of 4: s3, trained" in Read(inspector.label.value).text
    inspector.number.value = 3  # as the mouse does, the arrow keys, or a number that is typed
    assert inspector.current.sample.id == "s2"
    inspector.find("s1")
    assert inspector.number.value == 2
    inspector.keep(second_look="broke")
    assert inspector.number.layout.visibility == "hidden" and inspector.current.sample.id == "s1"


def test_widgets_filter_sort_and_search(inspector):
    inspector.filters["answer"].value = "wrong"  # as a user does
    assert ids(inspector) == "s1 s3"
    assert dict(map(reversed, inspector.filters["second look"].options))["repaired"] == "repaired (2)"
    assert inspector.filters["regions"].layout.display == "none"  # all have the same
    inspector.keep(answer="all")
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


def test_a_wrong_wish_is_one_sentence_and_changes_nothing(inspector):
    inspector.go(3)
    for act, said in (
        (lambda: inspector.keep(colour="red"), "filter 'colour' is unknown; expected one of family, answer"),
        (lambda: inspector.keep(family="c", answer="maybe"), "answer='maybe'; expected one of all, right, wrong"),
        (lambda: inspector.sort("size"), "order 'size' is unknown; expected one of as stored"),
        (lambda: inspector.go(5), "number 5; expected 1 to 4"),
        (lambda: inspector.find("nix"), "sample 'nix' is not among the 4 shown"),
    ):
        with pytest.raises(ValueError) as error:
            act()
        assert str(error.value).startswith(said)
        assert inspector.current.sample.id == "s2" and len(inspector.shown) == 4


def test_checkpoints_stand_side_by_side_and_in_the_sheet(inspector):
    made = Read(inspector.panel.value)
    assert [tag for tag, _ in made.tags].count("section") == 2 and "base" in made.text and "trained" in made.text
    both = inspector.sheet()
    inspector.both.value = False
    assert Read(inspector.panel.value).text.count("round 1") == 1 and inspector.sheet().height < both.height
    inspector.both.value = True
    inspector.find("s2")  # has no before
    assert list(inspector.seen()) == ["trained"] and Read(inspector.panel.value).text.count("round 1") == 1


def test_a_hostile_trajectory_is_shown_as_text(folder):
    inspector = Inspector({"a": [hostile()], "b": [make_trajectory()]}, folder)
    inspector.keep(checkpoint="a")
    for value in (inspector.panel.value, inspector.label.value):
        assert HOSTILE in check_harmless(value).text


def test_every_order_and_filter_takes_a_trajectory_that_lacks_everything(folder):
    bare = make_trajectory(regions=(), views=(), draft=None, answer=None, replies=("",), outcome="no_call")
    bare = replace(bare, sample=replace(bare.sample, boxes=(), meta={}))
    inspector = Inspector({"test": [bare, make_trajectory()]}, folder)
    for order in ORDERS:
        inspector.sort(order)
        assert len(inspector.shown) == 2, order
    assert [name for name, _ in inspector.filters["regions"].options] == ["all", "none (1)", "ok (1)"]
    assert Inspector({}, folder).current is None


def test_an_image_that_is_gone_is_a_sentence(inspector, folder):
    (folder / "1.jpg").unlink()
    inspector.on.click()
    assert "no such image" in Read(inspector.panel.value).text and inspector.current.sample.id == "s1"
    Image.new("RGB", (640, 480)).save(folder / "1.jpg")
    inspector.back.click()
    inspector.on.click()
    assert "no such image" not in Read(inspector.panel.value).text


def test_thousands_are_chosen_from_at_once(folder):
    one = make_trajectory()
    many = [replace(one, sample=replace(one.sample, id=f"s{i}"), regions=(Region((1, 2, 30, 40), "ok"),) * (i % 3))
            for i in range(5000)]  # fmt: skip
    inspector = Inspector({"test": many}, folder)

    def choose():
        inspector.sort("smallest regions first")
        inspector.search("s4999")
        inspector.search("")

    assert fastest(choose) < 2
