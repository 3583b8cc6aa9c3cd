"""The Makefile where paths are unusual. Nothing is built: `make -n` says what would be done."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path):
    """`make` in a folder with a space and a letter beyond ASCII."""
    if not shutil.which("make"):
        pytest.skip("no make here")
    folder = tmp_path / "a b ü"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)

    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the `make test` that may have started this
    env = {name: value for name, value in os.environ.items() if name not in outer}

    def run(*arguments):
        return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, env=env)

    return run


@pytest.mark.parametrize("target", ["env", "reproduce", "smoke", "status", "bench", "chaos", "clean"])
def test_every_path_of_a_recipe_is_relative_so_the_folder_may_have_any_name(make, target):
    done = make("-n", target)
    assert done.returncode == 0 and done.stdout and "ü" not in done.stdout


def test_an_environment_in_a_folder_with_a_space_is_one_sentence(make):
    done = make("env", "VENV=/tmp/a b")
    assert done.returncode and "VENV=/tmp/a b: make can't build in a folder with a space in its name" in done.stderr


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/tmp", "."])
def test_clean_deletes_nothing_outside_the_runs(make, name, tmp_path):
    done = make("clean", f"NAME={name}")
    assert done.returncode and "expected the name of a folder in runs/" in done.stdout and "rm" not in done.stdout


def test_clean_deletes_the_run_where_it_lies(make, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "r ü" / name).mkdir(parents=True)
    assert make("clean", "NAME=one", f"MAGS_RUNS={tmp_path / 'r ü'}").returncode == 0
    assert [p.name for p in (tmp_path / "r ü").iterdir()] == ["two"]
