"""Training's own rollouts: which are kept, that a killed training leaves the same, and that they can be replayed."""

from dataclasses import replace

import pytest
from PIL import Image
from test_evaluation import batch

from mags_kit.method.curriculum import Stage
from mags_kit.method.keeping import Kept
from mags_kit.method.validation import step_of
from mags_kit.records import read_trajectories, write_jsonl
from mags_kit.viz import replay
from mags_kit.run import open_run

SAMPLES = tuple(t.sample for t in batch(["3"] * 5))  # s0 to s4
STAGES = [Stage("stage 1", SAMPLES[:3], 2), Stage("stage 2", SAMPLES, 3)]


def kept(tmp_path, number, every=2):
    run = open_run("smoke", "r", {"stage_steps": [2, 3], "keep_rollouts": every}, root=tmp_path)
    return Kept(run, STAGES[number], number)


def group(name, answers):
    """Trajectories of one sample."""
    return [replace(t, sample=replace(t.sample, id=name)) for t in batch(answers)]


@pytest.mark.parametrize(
    "every, ids", [(0, [set(), set()]), (2, [{"s0", "s2"}, {"s0", "s2", "s4"}]), (9, [{"s0"}] * 2)]
)
def test_every_nth_sample_is_kept_the_same_in_each_stage(tmp_path, every, ids):
    made = [kept(tmp_path, number, every) for number in (0, 1)]
    assert [one.samples for one in made] == ids
    made[1].add(0, group("s0", ["3", "1"]))
    assert made[1].file.exists() == bool(every)


def test_what_is_kept_says_its_step_and_what_training_paid(tmp_path):
    one = kept(tmp_path, 1)
    one.add(0, group("s1", ["3", "3"]) + group("s2", ["3", "1"]))
    one.add(2, group("s0", ["1"]))
    stored = read_trajectories(one.file)
    assert [(t.sample.id, step_of(t), t.rewards["answer"]) for t in stored] == [
        ("s2", 3, 1),
        ("s2", 3, 0),
        ("s0", 5, 0),
    ]
    assert all(t.rewards["total"] > 0 for t in stored[:1])


def test_a_training_that_is_killed_and_resumed_leaves_the_same(tmp_path):
    """A step's groups come in two parts. It is killed in the second half of step 3, and goes on from step 2's end."""
    steps = [[group("s0", [a]), group("s2", [b])] for a, b in ("31", "13", "33")]
    whole, killed, resumed = (kept(tmp_path / name, 1) for name in ("whole", "killed", "killed"))
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


def test_what_was_kept_can_be_replayed(tmp_path):
    """Of a group of two the lower is shown, of three the middle one."""
    for number, answers in enumerate((["3", "1"], ["1", "3", "3"])):
        kept(tmp_path, number).add(0, group("s0", answers))
    Image.new("RGB", (640, 480)).save(tmp_path / "0.jpg")
    Image.new("RGB", (640, 480)).save(tmp_path / "1.jpg")
    run = open_run("smoke", "r", {"stage_steps": [2, 3], "keep_rollouts": 2}, root=tmp_path)
    assert replay.frames(run) == {}
    [(name, frames)] = replay.rollouts(run).items()
    assert name == "training, s0" and [(step, t.rewards["answer"]) for step, t in frames] == [(1, 0), (3, 1)]
    player = replay.Replay(replay.rollouts(run), tmp_path)
    player.go(3)
    assert player.current.condition == "training, step 3" and "step 3" in player.panel.value


def test_looks_and_rollouts_stand_beside_each_other(tmp_path):
    run = open_run("smoke", "r", {"stage_steps": [2, 3], "keep_rollouts": 2}, root=tmp_path)
    looks = [replace(t, condition=f"validation, step {step}") for step in (0, 2) for t in batch(["3"])]
    write_jsonl(run.stage("stage 1") / "looks.jsonl", looks)
    kept(tmp_path, 1).add(0, group("s0", ["3"]))
    assert [*replay.frames(run), *replay.rollouts(run)] == ["s0", "training, s0"]
