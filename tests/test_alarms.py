"""Alarms: what raises one, what does not, and that going on is stopped where it is pointless."""

import json
import math
from types import SimpleNamespace

import pytest

from mags_kit.method import alarms
from mags_kit.method.curriculum import Stage
from mags_kit.method.validation import Validation

GOOD = {
    "reward": 0.7, "loss": -0.01, "grad_norm": 0.06, "kl": 0.02, "frac_reward_zero_std": 0.1,
    "completions/clipped_ratio": 0.02, "tools/call_frequency": 0.98,
}  # fmt: skip


def log(count: int, **last) -> list[dict]:
    """Steps of a healthy training, with rows of other kinds between; `last` changes its last steps, lists by step."""
    rows = [GOOD | {"step": i + 1} for i in range(count)]
    for key, values in last.items():
        for row, value in zip(rows[-len(values) :], values, strict=True):
            row[key.replace("__", "/")] = value
    return [*rows, {"train_runtime": 3.0, "step": count}]


@pytest.mark.parametrize(
    "rows, names",
    [
        ([], []),
        ([{"train_runtime": 3.0, "step": 1}], []),
        (log(40), []),
        (log(1, frac_reward_zero_std=[1.0], tools__call_frequency=[0.0]), []),  # a step says little
        (log(40, loss=[math.nan]), ["not a number"]),
        (log(1, grad_norm=[math.inf]), ["not a number"]),
        (log(40, kl=[math.inf]), ["not a number", "far away"]),
        (log(40, loss=[math.nan, 0.0]), []),  # said where it happened
        (log(40, tools__call_frequency=[0.0] * 10), ["no calls", "few calls"]),
        (log(40, tools__call_frequency=[0.0] * 9), ["few calls"]),
        (log(40, tools__call_frequency=[0.2] * 10), []),
        (log(40, frac_reward_zero_std=[1.0] * 5), ["no spread"]),
        (log(40, frac_reward_zero_std=[1.0, 1.0, 0.5, 1.0, 0.9]), []),
        (log(40, completions__clipped_ratio=[0.6] * 5), ["cut off"]),
        (log(40, kl=[3.0] * 5), ["far away"]),
        (log(40, grad_norm=[6.0]), ["gradient jumps"]),
        (log(5, grad_norm=[6.0]), []),  # what is usual is not known yet
        (log(40, grad_norm=[0.5]), []),
        (log(40, grad_norm=[0.0] * 39 + [1.0]), []),  # no gradient at all before
        ([{k: v for k, v in row.items() if k != "kl"} for row in log(40)], []),  # beta: 0
    ],
)
def test_alarms(rows, names):
    assert [alarm.name for alarm in alarms.alarms(rows)] == names


def test_the_stored_runs_raise_none():
    """The worst that TRL logged in 45 steps of the `cpu` profile, in every step; gradients small and large."""
    worst = {
        "kl": 0.063, "completions__clipped_ratio": 0.016, "tools__call_frequency": 0.969, "frac_reward_zero_std": 0.125,
    }  # fmt: skip
    rows = log(45, **{key: [value] * 45 for key, value in worst.items()}, grad_norm=[0.046, 0.046, 0.123] * 15)
    assert not alarms.summary(rows)


def test_a_summary_counts_the_steps_of_each_alarm():
    flat, empty = alarms.summary(log(40, frac_reward_zero_std=[1.0] * 8, loss=[math.nan]))
    assert (flat["name"], flat["first"], flat["steps"], flat["stop"]) == ("no spread", 37, 4, False)
    assert (empty["name"], empty["first"], empty["steps"], empty["stop"]) == ("not a number", 40, 1, True)
    assert "num_generations" in flat["said"] and "learning_rate" in empty["said"]
    json.dumps([alarms.finite(row) for row in log(3, loss=[math.nan])], allow_nan=False)


@pytest.fixture
def shown(smoke_run, capsys):
    """A `Validation` of its progress bar alone: `shown(rows)` logs the last of them, and gives what was printed."""
    looks = Validation(smoke_run, None, [], Stage("stage 2", (), 40), 1, [])
    looks.bar = looks.new_bar(0)

    def log_last(rows):
        state = SimpleNamespace(log_history=rows, global_step=rows[-1]["step"])
        looks.on_log(None, state, None, logs=rows[-1])
        return capsys.readouterr().out

    yield log_last
    looks.bar.close()


def test_an_alarm_is_said_once_and_stands_beside_the_bar(shown):
    flat = log(40, frac_reward_zero_std=[1.0] * 5)[:-1]
    assert shown(log(40)[:-1]) == ""
    assert shown(flat).startswith("stage 2, step 40: in 100% of the groups of the last 5 steps all rewards are equal")
    assert shown(flat) == ""


def test_what_is_pointless_is_stopped_with_one_sentence(shown):
    with pytest.raises(alarms.Pointless, match="stage 2, step 40: loss is nan, and .* smaller learning_rate"):
        shown(log(40, loss=[math.nan])[:-1])
