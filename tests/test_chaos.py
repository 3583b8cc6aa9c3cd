"""Faults that end a run: it goes on from there, and comes out as if nothing had been. docs/faults.md lists them."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import chaos

ROOT = Path(__file__).parents[1]
SHORTEST = ["--profile", "smoke", "--name", "r", "--set", json.dumps(chaos.SHORTEST)]


def run(folder, *command, timeout=300, **options):
    environ = os.environ | {"MAGS_RUNS": str(folder), "OMP_NUM_THREADS": "1"} | options.pop("env", {})
    command = [sys.executable, "-m", "mags_kit", *command]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout, **options)


def limit(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.slow
def test_three_kills_end_in_the_undisturbed_result(tmp_path, monkeypatch):
    runs = tmp_path / "eigene Läufe"  # a space and a letter beyond ASCII
    monkeypatch.setenv("MAGS_RUNS", str(runs))
    result = chaos.chaos("chaos", kills=3, short=True)
    assert result["same"] and len(result["kills"]) == 3
    assert {"trajectories/pool.jsonl", "training/best/adapter_model.safetensors"} <= set(result["undisturbed"])
    assert "3 kills; " in chaos.table(result) and json.loads((runs / "chaos/chaos.json").read_text()) == result


@pytest.mark.long
def test_one_of_two_processes_is_killed_and_the_run_ends_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGS_RUNS", str(tmp_path))
    monkeypatch.setattr(chaos, "VICTIMS", {"child": ""})
    result = chaos.chaos("chaos", kills=1, processes=2)
    [row] = result["kills"]
    assert result["same"] and row["victim"].startswith("child (ended by itself after ")


@pytest.mark.slow
def test_a_limit_on_memory_is_one_sentence(tmp_path):
    done = run(tmp_path, "curate", *SHORTEST, preexec_fn=limit(resource.RLIMIT_AS, 1_700_000_000))
    said = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and said.startswith("mags_kit: the memory is used up (")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    folder = tmp_path if os.geteuid() else Path("/sys")  # where root may not write either
    done = run(folder, "run", *SHORTEST, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("mags_kit: ") and len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith("; allow writing there, or name another folder for all runs, MAGS_RUNS=FOLDER\n")


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_no_fault(tmp_path):
    home = {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    done = run(tmp_path, "run", "--job", "curate", *SHORTEST, env=home)
    assert done.returncode == 0 and done.stdout.endswith("r/notebooks/01_data_curation.ipynb\n"), done.stderr


@pytest.mark.slow
def test_a_disk_that_is_full_is_one_sentence_and_the_run_goes_on(tmp_path):
    """A limit on the size of a file stands for it: both fail in the middle of a write."""
    done = run(tmp_path, "curate", *SHORTEST, preexec_fn=limit(resource.RLIMIT_FSIZE, 30_000))
    assert done.returncode == 1, done.stdout
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("mags_kit: ") and "File too large; make room, or name another folder for all runs" in said
    assert not list(tmp_path.rglob("*.part"))
    assert run(tmp_path, "curate", *SHORTEST).returncode == 0
