"""The run folder, what is done in it, and its lock."""

import subprocess
import sys

import pytest

from mags_kit import lock, steps
from mags_kit.config import PROFILES
from mags_kit.records import read_json, write_json, write_text
from mags_kit.run import branch, open_run, reopen, variants
from mags_kit.steps import DONE, MISSING, STALE, UNFINISHED, Step


def test_settings_never_mix_in_a_run_folder(tmp_path):
    open_run("smoke", "a", root=tmp_path)
    assert open_run("smoke", "a", root=tmp_path).config == PROFILES["smoke"]
    with pytest.raises(ValueError, match=r"made with seed=0 \(now 1\); choose another NAME="):
        open_run("smoke", "a", {"seed": 1}, root=tmp_path)


def test_a_run_of_a_kit_with_fewer_settings_opens_with_the_defaults_of_its_profile(tmp_path):
    path = open_run("smoke", "old", root=tmp_path).path / "config.json"
    stored = read_json(path)
    for name in ("scale_rewards", "grpo", "batch_size"):  # the last is another in the profile `cpu`
        del stored[name]
    write_json(path, stored)
    assert open_run("smoke", "old", root=tmp_path).config == reopen("old", tmp_path).config == PROFILES["smoke"]


def test_damaged_files_of_a_run_are_one_sentence(tmp_path):
    cases = [
        ("config.json", "[]", "expected the manifest.json and config.json of a run"),
        ("config.json", '{"seed": 1', "config.json: expected JSON, as the kit writes it ("),
        ("config.json", "\udcff", "config.json: expected JSON"),  # a byte that is not UTF-8
        ("config.json", "[" * 100_000, "config.json: expected JSON"),
        ("config.json", '{"sed": 1}', "setting 'sed' is unknown; did you mean seed?"),
        ("config.json", '{"stage_steps": "__import__"}', "stage_steps='__import__' is str; expected int"),
        ("manifest.json", '{"profile": ["smoke"]}', "expected the manifest.json and config.json of a run"),
        ("manifest.json", '{"profile": "huge"}', "PROFILE='huge' is unknown"),
    ]
    failures = []
    for number, (file, content, said) in enumerate(cases):
        path = open_run("smoke", f"r{number}", root=tmp_path).path / file
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError) as error:
            reopen(f"r{number}", tmp_path)
        if said not in str(error.value) or "\n" in str(error.value):
            failures.append((file, content[:30], str(error.value)))
    assert not failures
    with pytest.raises(ValueError, match="expected letters"):
        open_run("smoke", "../a", root=tmp_path)


def test_a_branch_shares_the_data_and_trains_anew(tmp_path):
    run = open_run("smoke", "r", {"test": 6}, root=tmp_path)
    inside = branch(run, "seed-1", seed=1)
    assert branch(run, "seed-1", seed=1) == inside  # opened again
    assert inside.samples("test") == run.samples("test") and inside.views == run.views
    assert inside.samples("curated") != run.samples("curated") and inside.best != run.best
    assert (inside.config.seed, inside.config.test, inside.config.stage_steps) == (1, 6, (1, 1))
    with pytest.raises(ValueError, match="seed=1"):
        branch(run, "seed-1", seed=2)


def test_variants_differ_from_the_first_in_one_thing():
    made = variants(PROFILES["cpu"])
    orders = [{"curriculum": order} for order in ("shuffled", "hard_first", "learnable")]
    assert list(made.values()) == [{}, *orders, {"curated": 10}, {"curated": 20}, {"curated": 80}]


@pytest.fixture
def step(tmp_path):
    run = open_run("smoke", "r", root=tmp_path)
    write_text(tmp_path / "input.txt", "one")
    yield Step("a step", run, (run.path / "out.txt",), (tmp_path / "input.txt",))
    lock.leave(run.path)


def test_a_step_is_made_once(step):
    assert step.state()[0] == MISSING and steps.start(step)
    write_text(step.outputs[0], "made")
    assert step.state()[0] == DONE and not steps.start(step)


def test_a_changed_input_makes_a_step_stale_and_its_output_is_kept(step, capsys):
    steps.start(step)
    write_text(step.outputs[0], "made")
    write_text(step.inputs[0], "two")
    assert step.state() == (STALE, "changed: input.txt")
    assert steps.start(step) and not step.outputs[0].exists()
    assert (step.run.path / "old" / "1" / "out.txt").read_text() == "made"
    assert "a step is made again (changed: input.txt); what was there lies in" in capsys.readouterr().out


def test_two_inputs_of_one_name_are_both_watched(step, tmp_path):
    both = Step(step.name, step.run, step.outputs, (*step.inputs, tmp_path / "b" / "input.txt"))
    write_text(both.inputs[1], "one")
    for path in both.inputs:
        steps.start(both)
        write_text(both.outputs[0], "made")
        write_text(path, "two")
        assert both.state() == (STALE, "changed: input.txt")


def test_changed_code_makes_a_step_stale(step, monkeypatch):
    steps.start(step)
    write_text(step.outputs[0], "made")
    monkeypatch.setattr(steps, "digest_of_code", lambda parts: "another")
    assert step.state() == (STALE, "changed: the kit's code")


def test_an_unfinished_step_keeps_its_output(step):
    begun = Step(step.name, step.run, step.outputs, step.inputs, finished=lambda: False)
    steps.start(begun)
    write_text(step.outputs[0], "half")
    assert begun.state()[0] == UNFINISHED and steps.start(begun) and step.outputs[0].read_text() == "half"


HOLD = "import sys, pathlib; from mags_kit import lock; lock.hold(pathlib.Path(sys.argv[1]), 'another'); "


def test_one_command_at_a_time_in_a_folder_and_a_killed_one_leaves_no_lock(tmp_path):
    command = [sys.executable, "-c", HOLD + "print(flush=True); sys.stdin.read()", str(tmp_path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    first.stdout.readline()
    with pytest.raises(ValueError, match=rf"is in use by another \(process {first.pid}, since .*choose another NAME="):
        lock.hold(tmp_path, "me")
    tmp_path.joinpath("half.part").touch()  # what it was writing
    first.kill()
    first.communicate()
    lock.hold(tmp_path, "me")
    assert not list(tmp_path.glob("*.part"))
    lock.leave(tmp_path)


def test_the_kernels_of_a_command_share_its_lock(tmp_path):
    lock.hold(tmp_path, "me")
    done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True)
    lock.leave(tmp_path)
    assert done.returncode == 0, done.stderr
