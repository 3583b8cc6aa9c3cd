"""Watching a training: what raises an alarm, which rollouts are stored, and that a killed training leaves the same."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_evaluation import batch

from mags_kit.method import monitoring
from mags_kit.method.curriculum import Stage
from mags_kit.method.monitoring import StoredRollouts, TrainingStopped, Validation, step_of
from mags_kit.records import read_trajectories
from mags_kit.run import open_run
from mags_kit.viz import replay

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


SAMPLES = tuple(t.sample for t in batch(["3"] * 5))  # s0 to s4
STAGES = [Stage("stage 1", SAMPLES[:3], 2), Stage("stage 2", SAMPLES, 3, 1, 2)]


def stored_in(tmp_path, number, every=2):
    run = open_run("smoke", "r", {"stage_steps": [2, 3], "keep_rollouts": every}, root=tmp_path)
    return StoredRollouts(run, STAGES[number])


def group(name, answers):
    """Trajectories of one sample."""
    return [replace(t, sample=replace(t.sample, id=name)) for t in batch(answers)]


def test_every_nth_sample_is_stored_the_same_in_each_stage(tmp_path):
    table = {0: [set(), set()], 2: [{"s0", "s2"}, {"s0", "s2", "s4"}], 9: [{"s0"}] * 2}
    for every, ids in table.items():
        made = [stored_in(tmp_path / str(every), number, every) for number in (0, 1)]
        assert [one.samples for one in made] == ids
        made[1].add(0, group("s0", ["3", "1"]))
        assert made[1].file.exists() == bool(every)


def test_a_stored_rollout_holds_its_step_and_its_rewards(tmp_path):
    one = stored_in(tmp_path, 1)
    one.add(0, group("s1", ["3", "3"]) + group("s2", ["3", "1"]))
    one.add(2, group("s0", ["1"]))
    stored = read_trajectories(one.file)
    found = [(t.sample.id, step_of(t), t.rewards["answer"]) for t in stored]
    assert found == [("s2", 3, 1), ("s2", 3, 0), ("s0", 5, 0)] and stored[0].rewards["total"] > 0


def test_a_training_that_is_killed_and_resumed_leaves_the_same(tmp_path):
    """A step's groups come in two parts. It is killed in the second half of step 3, and goes on from step 2's end."""
    steps = [[group("s0", [a]), group("s2", [b])] for a, b in ("31", "13", "33")]
    whole, killed, resumed = (stored_in(tmp_path / name, 1) for name in ("whole", "killed", "killed"))
    for number, parts in enumerate(steps):
        for part in parts:
            whole.add(number, part)
    for number, parts in enumerate((steps[0], [group("s0", ["x"])])):
        for part in parts:
            killed.add(number, part)
    for number in (1, 2):
        for part in steps[number]:
            resumed.add(number, part)
    assert resumed.file.read_bytes() == whole.file.read_bytes() and len(read_trajectories(whole.file)) == 6


def test_of_a_group_the_middle_rollout_is_replayed(tmp_path):
    """Of two the lower one, of three the one in the middle."""
    for number, answers in enumerate((["3", "1"], ["1", "3", "3"])):
        stored_in(tmp_path, number).add(0, group("s0", answers))
    run = open_run("smoke", "r", {"stage_steps": [2, 3], "keep_rollouts": 2}, root=tmp_path)
    [(name, frames)] = replay.rollouts(run).items()
    assert name == "training, s0" and [(step, t.rewards["answer"]) for step, t in frames] == [(1, 0), (3, 1)]
