"""One at a time in a run folder; every case is two real processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mags_kit import holder
from mags_kit.records import read_json, write_json

ROOT = Path(__file__).parents[1]
HOLD = "import sys, pathlib; from mags_kit import holder; holder.{}(pathlib.Path(sys.argv[1]){}); "
HOLD += "print('held', flush=True)"
WAIT = "; sys.stdin.read()"


def start(folder, call="hold", what=", 'the first'", then=WAIT, **environ):
    code = HOLD.format(call, what) + then
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environ = {k: v for k, v in os.environ.items() if k != holder.INSIDE} | environ
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, env=environ, **pipes)


@pytest.fixture
def first(tmp_path):
    process = start(tmp_path / "run")
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_start_is_told_who_holds_the_folder(first, tmp_path):
    out, said = start(tmp_path / "run", then="").communicate()
    assert not out and "was taken by the first at 20" in said and f"(process {first.pid} on host " in said
    assert "wait for it or end it, or choose another NAME=" in said.strip().splitlines()[-1]


def test_a_dead_holder_is_taken_over_and_what_it_was_writing_goes(first, tmp_path):
    (tmp_path / "run" / "a.1234.part").write_text("half a file")
    first.send_signal(signal.SIGKILL)
    first.wait()
    out, said = start(tmp_path / "run", then="").communicate()
    assert f"process {first.pid}" in out and "died: this takes over\nheld" in out and not said
    assert [p.name for p in (tmp_path / "run").iterdir()] == [".lock"]  # let go of at its end


def test_a_holder_on_another_host_is_not_taken_over(tmp_path):
    note = {"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00", "what": "`mags_kit run`"}
    write_json(tmp_path / "holder.json", note)
    for _ in range(2):  # refusing leaves nothing held
        out, said = start(tmp_path, then="").communicate()
        assert "on host elsewhere), which is not seen from here; if it ended, delete " in said and not out
    (tmp_path / "holder.json").unlink()
    assert start(tmp_path, then="").communicate()[0] == "held\n"


@pytest.mark.parametrize(
    "environ, held",
    [
        ({}, False),  # a notebook by hand
        ({"RANK": "1"}, True),  # a second process of `accelerate launch`
        ({holder.INSIDE: "here"}, True),  # a kernel that the holder started
    ],
)
def test_processes_of_one_command_are_one_holder(first, tmp_path, environ, held):
    folder = tmp_path / "run"
    environ = {name: str(folder.resolve()) if value == "here" else value for name, value in environ.items()}
    out, said = start(folder, "make", "", then="", **environ).communicate()
    assert (out == "held\n") is held and ("ValueError" in said) is not held


def test_two_kernels_of_one_command_do_not_make_at_the_same_time(tmp_path, monkeypatch):
    """The first is the orphan of a command that died; it may take a moment to notice."""
    inside = {holder.INSIDE: str(tmp_path.resolve())}
    orphan = start(tmp_path, "make", "", **inside)
    assert orphan.stdout.readline() == "held\n"
    second = start(tmp_path, "make", "", then="", **inside)
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate(timeout=2)
    orphan.communicate()  # its input ends, and so does it
    assert second.communicate()[0] == "held\n"


def test_reading_who_holds_needs_no_lock(first, tmp_path):
    assert holder.who(tmp_path / "run").endswith(
        f"(process {first.pid} on host {read_json(tmp_path / 'run' / 'holder.json')['host']})"
    )
    assert holder.who(tmp_path) == ""
    (tmp_path / "holder.json").write_text(json.dumps({})[:1])  # cut short
    assert holder.who(tmp_path) == ""
