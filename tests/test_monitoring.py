"""Watching a training: what raises an alarm, and what an alarm does."""

import math
from types import SimpleNamespace

import pytest

from mags_kit.method import monitoring, protocol
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.monitoring import TrainingStopped, Validation
from mags_kit.records import read_json, read_samples
from mags_kit.run import open_run

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


ALARMS = [
    ([], []),
    ([{"train_runtime": 3.0, "step": 1}], []),
    (log(40), []),
    (log(1, frac_reward_zero_std=[1.0], tools__call_frequency=[0.0]), []),  # one step is too few
    (log(40, loss=[math.nan]), ["not a number"]),
    (log(1, grad_norm=[math.inf]), ["not a number"]),
    (log(40, kl=[math.inf]), ["not a number", "far away"]),
    (log(40, loss=[math.nan, 0.0]), []),  # raised at the step before
    (log(40, tools__call_frequency=[0.0] * 10), ["no calls", "few calls"]),
    (log(40, tools__call_frequency=[0.0] * 9), ["few calls"]),
    (log(40, tools__call_frequency=[0.2] * 10), []),
    (log(40, frac_reward_zero_std=[1.0] * 5), ["no spread"]),
    (log(40, frac_reward_zero_std=[1.0, 1.0, 0.5, 1.0, 0.9]), []),
    (log(40, completions__clipped_ratio=[0.6] * 5), ["cut off"]),
    (log(40, kl=[3.0] * 5), ["far away"]),
    ([{k: v for k, v in row.items() if k != "kl"} for row in log(40)], []),  # beta: 0
]


def test_what_raises_an_alarm():
    raised = [(rows[-2:], names, [alarm["name"] for alarm in monitoring.alarms(rows)]) for rows, names in ALARMS]
    assert not [case for case in raised if case[1] != case[2]]
    silent = log(40, tools__call_frequency=[0.0] * 10)
    stops = {must: [a["stop"] for a in monitoring.alarms(silent, must)] for must in (True, False)}
    assert stops == {True: [True, False], False: [False, False]}  # where it need not look, a lack of calls may be right


def test_an_alarm_is_said_once_beside_the_bar_and_a_pointless_training_is_stopped(smoke_run, capsys):
    monitor = Validation(smoke_run, None, [], Stage("stage 2", (), 40, 1, 10), [])
    monitor.on_train_begin(None, SimpleNamespace(global_step=0), None)

    def after(rows):
        state = SimpleNamespace(log_history=rows[:-1], global_step=40)
        monitor.on_log(None, state, None, logs=rows[-2])
        return capsys.readouterr().out

    flat = log(40, frac_reward_zero_std=[1.0] * 5)
    assert after(log(40)) == ""
    assert after(flat).startswith("stage 2, step 40: in 100% of the groups")
    assert after(flat) == "" and "alarms=no spread" in str(monitor.bar)
    with pytest.raises(TrainingStopped, match="stage 2, step 40: loss is nan, and .* smaller learning_rate"):
        after(log(40, loss=[math.nan]))
    assert [(a["name"], a["step"]) for a in monitor.raised.values()] == [("no spread", 40), ("not a number", 40)]
    monitor.bar.close()


NET = [  # gain less harm by look, of ten questions, and whether it is an alarm
    ([1, 0, 0], True), ([1, 2, -1, 0], True), ([3, 0], False), ([0, 0, 0], False), ([-1, 0, 0], False),
    ([1, 0, 1], False), ([1, 1, 0], False), ([1, 0, 0, 1], False), ([], False),
]  # fmt: skip


def test_a_tool_that_gains_nothing_any_more_is_said(smoke_run, capsys):
    looks = [[{"gain": 0.2 + n / 10, "harm": 0.2, "accuracy": 0.5, "withheld": 0.5} for n in net] for net, _ in NET]
    assert [bool(monitoring.tool_alarms(rows)) for rows in looks] == [wrong for _, wrong in NET]
    monitor = Validation(smoke_run, None, [], Stage("stage 2", (), 40, 1, 10), looks[0])
    monitor.on_train_begin(None, SimpleNamespace(global_step=0), None)
    monitor.on_log(None, SimpleNamespace(log_history=log(40)[:-1], global_step=40), None, logs=GOOD)
    said = "stage 2, step 40: 50% of the validation questions are right with the tool and 50% without it"
    assert capsys.readouterr().out.startswith(said) and "alarms=no gain" in str(monitor.bar)
    monitor.bar.close()


def test_a_validation_asks_with_the_tool_and_with_it_withheld(smoke_run, scripted, tmp_path):
    samples = read_samples(smoke_run.samples("validation"))[:4]
    run = open_run("smoke", "r", {"magnifier": "bicubic"}, root=tmp_path)
    run.data.symlink_to(smoke_run.data.absolute())
    call = protocol.tool_call_text([(120, 120, 320, 320)])

    def replies(right):
        return [f"<answer>{s.answer if good else '-'}</answer>" for s, good in zip(samples, right, strict=True)]

    agent = Agent.of(run, scripted([[call] * 4, replies([1, 1, 0, 0]), replies([1, 0, 1, 0])]))
    monitor = Validation(run, agent, samples, Stage("stage 2", (), 40, 1, 10), [{"return": 1.0}])
    monitor.validate(5)
    [row] = read_json(monitor.file)
    assert [row[name] for name in ("step", "accuracy", "withheld", "gain", "harm")] == [15, 0.5, 0.5, 0.25, 0.25]
    assert row["right"] == [1, 1, 0, 0] and row["samples"] == 4
