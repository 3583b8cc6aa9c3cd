from dataclasses import replace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.method import rewards
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
    "<rethink>r</rethink><answer>3</answer>",
)


def test_format_is_graded():
    assert rewards.form(make_trajectory(replies=GOOD)) == 1.0
    assert rewards.form(make_trajectory(replies=(GOOD[0],))) == pytest.approx(0.6)
    assert rewards.form(make_trajectory(replies=("<think>t</think><draft>2</draft><tool_call>",))) == pytest.approx(0.4)
    assert rewards.form(make_trajectory(replies=("gibberish",))) == 0.0


@pytest.mark.parametrize(
    "replies, share",
    [
        (("<think> </think><draft> </draft><tool_call> </tool_call>", "<rethink></rethink><answer> </answer>"), 0),
        (("<think><draft>2</draft><tool_call>{}</tool_call></think>",), 0.2),  # only spoken of
        (("<think>t</think><draft>2</draft>", "<rethink><answer>3</answer></rethink>"), 0.6),
        (("<think>t</think><draft>2</draft><tool_call>{}</tool_call> more",), 0.4),  # the call does not end the reply
        ((GOOD[0], "<rethink>r</rethink><answer>3</answer><answer></answer>"), 0.8),
        ((GOOD[0], "<answer>3</answer><rethink>r</rethink>"), 0.8),
    ],
)
def test_empty_parts_and_those_inside_the_reasoning_earn_nothing(replies, share):
    assert rewards.form(make_trajectory(replies=replies)) == pytest.approx(share)


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
    "draft, answer, value", [("2", "3", 1), ("3", "2", -1), ("3", "3", 0), ("1", "2", 0), (None, "3", 0)]
)
def test_verification(draft, answer, value):
    assert rewards.verify(make_trajectory(draft=draft, answer=answer)) == value


def test_total_is_the_weighted_sum_and_zero_only_logs():
    t = make_trajectory(replies=GOOD)
    assert rewards.scores(t, {"answer": 1.0, "format": 0.5, "verify": 0.0}) == {
        "answer": 1.0, "format": 1.0, "verify": 1.0, "total": 1.5,
    }  # fmt: skip


def test_advantages_by_hand():
    """Group (1, 0, 0, 1): mean 0.5, sample deviation 0.577; a group without spread gives zeros."""
    table = rewards.advantages([1, 0, 0, 1, 2, 2, 2, 2], 4)
    assert np.allclose(table, [[0.866, -0.866, -0.866, 0.866], [0, 0, 0, 0]], atol=1e-3)
