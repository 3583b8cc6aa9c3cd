from dataclasses import replace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.config import WEIGHTS
from mags_kit.method import protocol, rewards
from mags_kit.method.parsing import parse_reply
from mags_kit.records import Region, View


@pytest.mark.parametrize(
    "answer, truth, right",
    [
        ("3", "3", True), ("three", "3", True), ("The three.", "3", True), ("13", "3", False), ("3.5", "3", False),
        ("yes", "yes", True), ("True", "yes", True), ("False.", "no", True), ("no, it is not", "no", True),
        ("a red bus", "red bus", True), ("Red Bus", "red bus", True), ("bus", "red bus", False), ("", "3", False),
        ("yes or no", "no", False), (None, "3", False),
    ],
)  # fmt: skip
def test_answers(answer, truth, right):
    sample = replace(make_trajectory().sample, answer=truth)
    assert rewards.answer(make_trajectory(answer=answer, sample=sample)) == right


GOOD = (
    "<think>t</think><draft>2</draft><tool_call>{}</tool_call>",
    "<rethink>r</rethink><verdict>wrong</verdict><answer>3</answer>",
)


def test_format_is_graded():
    assert rewards.form(make_trajectory(replies=GOOD)) == 1.0
    assert rewards.form(make_trajectory(replies=(GOOD[0],))) == pytest.approx(1 / 2)
    assert rewards.form(make_trajectory(replies=("<think>t</think><draft>2</draft><tool_call>",))) == pytest.approx(
        1 / 3
    )
    assert rewards.form(make_trajectory(replies=("gibberish",))) == 0.0


@pytest.mark.parametrize(
    "replies, parts",
    [
        (("<think> </think><draft> </draft><tool_call> </tool_call>", "<rethink></rethink><answer> </answer>"), 0),
        (("<think><draft>2</draft><tool_call>{}</tool_call></think>",), 1),  # only spoken of
        (("<think>t</think><draft>2</draft>", "<rethink><verdict>wrong</verdict><answer>3</answer></rethink>"), 3),
        (("<think>t</think><draft>2</draft><tool_call>{}</tool_call> more",), 2),  # the call does not end the reply
        ((GOOD[0], "<rethink>r</rethink><verdict>wrong</verdict><answer>3</answer><answer></answer>"), 5),
        ((GOOD[0], "<verdict>wrong</verdict><answer>3</answer><rethink>r</rethink>"), 5),
    ],
)
def test_empty_parts_and_those_inside_the_reasoning_earn_nothing(replies, parts):
    assert rewards.form(make_trajectory(replies=replies)) == pytest.approx(parts / 6)


def test_a_bug_in_a_reward_names_the_sample(monkeypatch):
    monkeypatch.setitem(rewards.REWARDS, "answer", lambda t: 1 / 0)
    with pytest.raises(RuntimeError, match="sample 'a': reward answer failed with ZeroDivisionError: division by zero"):
        rewards.scores(make_trajectory(), {"answer": 1.0})


def test_answer_counts_only_when_the_rollout_ended_well():
    assert rewards.answer(make_trajectory()) == 1.0
    assert rewards.answer(make_trajectory(answer="4")) == 0.0
    assert rewards.answer(make_trajectory(outcome="no_call")) == 0.0


def test_regions_by_hand():
    ok, bad, whole = Region((0, 0, 9, 9), "ok"), Region((0, 0, 9, 9), "duplicate"), Region((0, 0, 640, 480), "whole")
    near, far = View((0, 0, 10, 10), (128, 128)), View((0, 0, 300, 300), (128, 128))
    assert rewards.regions(make_trajectory(regions=(ok,), views=(near,))) == 1.0
    assert rewards.regions(make_trajectory(regions=(bad, ok), views=(near,))) == 0.5
    assert rewards.regions(make_trajectory(regions=(ok,), views=(far,))) == 0.0  # a magnifying glass that shrinks
    assert rewards.regions(make_trajectory(regions=(whole,), views=(near,))) == 0.0
    assert rewards.regions(make_trajectory(regions=(), views=())) == 0.0


@pytest.mark.parametrize(
    "draft, verdict, value",
    [("2", "wrong", 1), ("2", "right", 0), ("3", "right", 1), ("3", "wrong", -1), ("2", None, 0), (None, "wrong", 0)],
)
@pytest.mark.parametrize("answer", ["3", "2"])
def test_a_verdict_is_paid_for_its_truth_whatever_the_answer(draft, verdict, answer, value):
    assert rewards.verify(make_trajectory(draft=draft, verdict=verdict, answer=answer)) == value


def test_a_right_draft_is_paid_in_two_rounds_only():
    assert rewards.draft(make_trajectory(draft="3")) == 1
    assert rewards.draft(make_trajectory(draft="2")) == rewards.draft(make_trajectory(draft=None)) == 0
    assert rewards.draft(make_trajectory(draft="3", replies=GOOD[:1])) == 0


def played(drafts, verdicts, answers, calls="[[10, 10, 60, 60]]", first="", last="") -> float:
    """The mean total reward of a policy that writes these, question by question; the truth is always 3."""
    totals = []
    for draft, verdict, answer in zip(drafts, verdicts, answers, strict=True):
        replies = (
            f"{first}<think>t</think><draft>{draft}</draft>"
            f'<tool_call>{{"name": "magnify", "arguments": {{"regions": {calls}}}}}</tool_call>',
            f"<rethink>r</rethink><verdict>{verdict}</verdict><answer>{answer}</answer>{last}",
        )
        one, two = map(parse_reply, replies)
        found = protocol.read_regions(one.call["regions"] if one.call else [], "pixels", (640, 480), (640, 480), 2)
        views = tuple(View(r.box, (128, 128)) for r in found if r.usable)
        t = make_trajectory(
            replies=replies, draft=one.draft, verdict=two.verdict, answer=two.answer, regions=tuple(found), views=views,
            outcome="answered" if one.call and two.answer else "no_call",
        )  # fmt: skip
        totals.append(rewards.scores(t, WEIGHTS)["total"])
    return float(np.mean(totals))


# Four questions with a chance of a quarter: one draft is right by luck. The honest policy answers three rightly, and
# its verdicts follow its answers.
GUESSES, ANSWERS = ("3", "2", "2", "2"), ("3", "3", "3", "2")
HONEST = [("right", "wrong")[d != a] for d, a in zip(GUESSES, ANSWERS, strict=True)]
EXPLOITS = {
    "spoils its draft, and calls it wrong": {"drafts": ("x",) * 4, "verdicts": ("wrong",) * 4},
    "calls every draft wrong": {"verdicts": ("wrong",) * 4},
    "calls every draft right": {"verdicts": ("right",) * 4},
    "says nothing of its draft": {"verdicts": ("",) * 4},
    "drafts nothing": {"drafts": ("",) * 4, "verdicts": ("wrong",) * 4},
    "keeps its draft as its answer": {"answers": GUESSES, "verdicts": ("right",) * 4},
    "asks for many regions": {"calls": "[[10, 10, 60, 60], [70, 10, 120, 60], [10, 90, 60, 140], [90, 90, 140, 140]]"},
    "asks for the same region twice": {"calls": "[[10, 10, 60, 60], [10, 10, 60, 60]]"},
    "asks for no region": {"calls": "[]"},
    "asks for empty regions": {"calls": "[[10, 10, 10, 10], [60, 60, 10, 10]]"},
    "asks for the whole image": {"calls": "[[0, 0, 640, 480]]"},
    "asks for a region that the glass does not enlarge": {"calls": "[[10, 10, 400, 400]]"},
    "asks for what is outside": {"calls": "[[900, 900, 960, 960]]"},
    "echoes empty tags at the end": {"last": "<verdict></verdict><answer></answer>"},
    "answers twice": {"last": "<answer>9</answer>"},
}


@pytest.mark.parametrize("name", EXPLOITS)
def test_no_exploit_earns_more_than_the_honest_reply(name):
    honest = {"drafts": GUESSES, "verdicts": HONEST, "answers": ANSWERS}
    assert played(**honest | EXPLOITS[name]) < played(**honest) - 0.01


def test_tags_echoed_before_a_reply_earn_nothing():
    honest = {"drafts": GUESSES, "verdicts": HONEST, "answers": ANSWERS}
    echo = "<draft> </draft><verdict>right</verdict><answer>3</answer>"
    assert played(**honest, first=echo) == pytest.approx(played(**honest))


@pytest.mark.parametrize("chance", [1 / 4, 1 / 2, 3 / 4])
@pytest.mark.parametrize("judged", [1 / 2, 3 / 4, 1])
def test_spoiling_a_draft_never_pays(chance, judged):
    """Expected reward of drafts that are right with `chance` and judged rightly with `judged`, against spoilt ones."""
    verdicts = chance * (2 * judged - 1) + (1 - chance) * judged
    honest = WEIGHTS["draft"] * chance + WEIGHTS["verify"] * verdicts
    assert honest >= WEIGHTS["verify"]


def test_total_is_the_weighted_sum_and_zero_only_logs():
    t = make_trajectory(replies=GOOD)
    assert rewards.scores(t, {"answer": 1.0, "format": 0.5, "verify": 0.0}) == {
        "answer": 1.0, "format": 1.0, "verify": 0.0, "total": 1.5,
    }  # fmt: skip


def test_advantages_by_hand():
    """Group (1, 0, 0, 1): mean 0.5, sample deviation 0.577; a group without spread gives zeros."""
    table = rewards.advantages([1, 0, 0, 1, 2, 2, 2, 2], 4)
    assert np.allclose(table, [[0.866, -0.866, -0.866, 0.866], [0, 0, 0, 0]], atol=1e-3)
