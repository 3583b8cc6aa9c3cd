import matplotlib.pyplot as plt
import pytest
from test_evaluation import batch

from mags_kit.report.inspector import Inspector


@pytest.fixture
def inspector():
    drawn = []

    def draw(trajectory):
        drawn.append(trajectory.sample.id)
        return plt.figure(figsize=(1, 1))

    made = Inspector(batch(["3", "1", "3", "1"], ["1", "3", "3", "2"]), draw)  # repaired, broke, kept right, kept wrong
    made.drawn = drawn
    return made


def press(inspector, name):
    row = inspector.widget.children[0]
    next(b for b in row.children if getattr(b, "description", "") == name).click()


def test_previous_and_next_go_round(inspector):
    press(inspector, "next")
    assert inspector.current.sample.id == "s1"
    press(inspector, "previous")
    press(inspector, "previous")
    assert inspector.current.sample.id == "s3" == inspector.drawn[-1]
    assert bytes(inspector.picture.value).startswith(b"\x89PNG")


@pytest.mark.parametrize("kind, ids", [("right", "s0 s2"), ("wrong", "s1 s3"), ("repaired", "s0"), ("broken", "s1")])
def test_filters(inspector, kind, ids):
    inspector.kinds.value = kind  # as a user does
    assert [t.sample.id for t in inspector.shown] == ids.split() and inspector.drawn[-1] == ids.split()[0]
    inspector.select("all")
    assert len(inspector.shown) == 4 and inspector.kinds.value == "all"


def test_an_empty_filter_says_so():
    inspector = Inspector(batch(["3"], ["3"]), lambda t: plt.figure())
    inspector.select("broken")
    inspector.next()
    assert inspector.current is None and "none" in inspector.label.value


def test_counts_stand_beside_the_filters(inspector):
    assert dict((value, label) for label, value in inspector.kinds.options)["repaired"] == "repaired (1)"
