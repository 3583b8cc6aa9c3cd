from dataclasses import replace

import pytest
from test_evaluation import batch
from test_records import make_trajectory
from timing import fastest

from mags_kit.records import Region
from mags_kit.viz.browser import FILTERS, ORDERS, Browser, verdict


def ids(browser):
    return [browser.entries[i][1].sample.id for i in browser.shown]


@pytest.fixture
def browser():
    after = batch(["3", "1", "3", "1"], ["1", "3", "3", "2"])  # repaired, broke, kept right, kept wrong
    families = ["count", "count", "open", "open"]
    after = [
        replace(t, sample=replace(t.sample, family=family), rewards={"total": i / 4})
        for i, (t, family) in enumerate(zip(after, families, strict=True))
    ]
    return Browser({"before RL": after[:2], "after RL": after})


@pytest.mark.parametrize(
    "wanted, found",
    [
        ({}, "s0 s1 s2 s3"),
        ({"answer": "right"}, "s0 s2"),
        ({"answer": "wrong", "family": "open"}, "s3"),
        ({"second_look": "repaired"}, "s0"),
        ({"second look": "broke"}, "s1"),
        ({"stage": "before RL"}, "s0 s1"),
        ({"stage": "all"}, "s0 s1 s0 s1 s2 s3"),
        ({"regions": "ok", "answer": "right"}, "s0 s2"),
    ],
)
def test_filters_choose_together(browser, wanted, found):
    browser.keep(**wanted)
    assert ids(browser) == found.split() and browser.at == 0
    browser.keep(**dict.fromkeys(wanted, "all"))
    assert len(browser.shown) == 6 if "stage" in wanted else 4


@pytest.mark.parametrize(
    "act, said",
    [
        (lambda b: b.keep(colour="red"), "filter 'colour' is unknown; expected one of family, answer"),
        (lambda b: b.keep(answer="maybe"), "answer='maybe'; expected all or one of right, wrong"),
        (lambda b: b.sort("size"), "order 'size' is unknown; expected one of as stored"),
        (lambda b: b.go(5), "number 5; expected 1 to 4"),
        (lambda b: b.find("nix"), "sample 'nix' is not among the 4 shown"),
    ],
)
def test_what_there_is_not_is_one_sentence_and_changes_nothing(browser, act, said):
    browser.go(3)
    with pytest.raises(ValueError, match="expected|not among") as error:
        act(browser)
    assert str(error.value).startswith(said) and browser.current.sample.id == "s2" and len(browser.shown) == 4


def test_moving_jumping_and_finding(browser):
    browser.move(-1)
    assert browser.current.sample.id == "s3"
    browser.move(1)
    browser.go(3)
    assert browser.current.sample.id == "s2" and [t.sample.id for t in browser.next(9)] == ["s2", "s3"]
    browser.find("s1")
    assert list(browser.beside()) == ["before RL", "after RL"]
    browser.find("s3")
    assert list(browser.beside()) == ["after RL"]


def test_searching_ids_questions_and_replies_in_any_case(browser):
    browser.search("S2 ")
    assert ids(browser) == ["s2"]
    browser.search("HOW MANY")
    assert len(browser.shown) == 4
    browser.search("<draft>")
    assert len(browser.shown) == 4
    browser.search("zebra")
    assert not browser.shown and browser.current is None and browser.beside() == {} and browser.stage == ""
    browser.move(1)


@pytest.mark.parametrize(
    "order, first", [("reward, highest first", "s3"), ("reward, lowest first", "s0"), ("sample id", "s0")]
)
def test_orders(browser, order, first):
    browser.sort(order)
    assert ids(browser)[0] == first


def test_every_order_and_filter_stands_a_trajectory_that_lacks_all():
    bare = make_trajectory(regions=(), views=(), draft=None, answer=None, replies=("",), outcome="no_call")
    bare = replace(bare, sample=replace(bare.sample, boxes=(), meta={}))
    browser = Browser({"test": [bare, make_trajectory()]})
    for order in ORDERS:
        browser.sort(order)
        assert len(browser.shown) == 2
    assert set(browser.filters) <= {*FILTERS, "stage"} and browser.values("regions") == {"none": 1, "ok": 1}
    assert Browser({}).current is None


@pytest.mark.parametrize("said, found", [("wrong", "draft wrong"), ("right", "draft right"), (None, "none")])
def test_the_verdict_of_round_2(said, found):
    assert verdict(make_trajectory(verdict=said)) == found


def test_thousands_are_chosen_from_at_once():
    one = make_trajectory()
    many = [replace(one, sample=replace(one.sample, id=f"s{i}"), regions=(Region((1, 2, 30, 40), "ok"),) * (i % 3))
            for i in range(5000)]  # fmt: skip
    browser = Browser({"test": many})

    def choose():
        browser.keep(answer="right")
        browser.sort("smallest regions first")
        browser.search("s4999")
        browser.find("s4999")

    assert fastest(choose) < 1 and ids(browser) == ["s4999"]
