"""The lock file, the Makefile and the wheel, as far as they can be tested without an index."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = [Requirement(line) for line in LOCK.splitlines() if not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKED = re.search(r"^LOCKED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
DIRECT = [Requirement(r) for group in (PROJECT["dependencies"], *map(EXTRAS.get, LOCKED)) for r in group]
PLATFORMS = {
    "Linux x86-64": ("linux", "x86_64", "Linux", "posix"),
    "Linux arm64": ("linux", "aarch64", "Linux", "posix"),
    "macOS arm64": ("darwin", "arm64", "Darwin", "posix"),
    "Windows": ("win32", "AMD64", "Windows", "nt"),
}


def locked(platform: str, python: str) -> dict[str, list[str]]:
    """Versions by package name that the lock holds for one environment."""
    names = ("sys_platform", "platform_machine", "platform_system", "os_name")
    marks = dict(zip(names, PLATFORMS[platform], strict=True), implementation_name="cpython", extra="")
    marks |= {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    marks["platform_python_implementation"] = "CPython"
    found = {}
    for pin in PINNED:
        if pin.marker is None or pin.marker.evaluate(marks):
            found.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    return found


def test_every_platform_gets_one_version_of_each_package():
    for platform in PLATFORMS:
        for python in ("3.11.7", "3.12.1"):
            found = locked(platform, python)
            assert {name: versions for name, versions in found.items() if len(versions) != 1} == {}
            for wanted in DIRECT:
                [version] = found[canonicalize_name(wanted.name)]
                assert wanted.specifier.contains(version), f"{wanted} is locked to {version}; run `make lock`"


def test_the_lock_names_no_machine_and_no_build():
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINNED)  # so none is `+cpu`
    assert not re.search(r"://|^\s*-|file:", LOCK, re.MULTILINE)


def test_the_one_extra_outside_the_lock_takes_what_trl_takes():
    assert EXTRAS.keys() - LOCKED == {"vllm"} and "\nvllm==" not in LOCK
    [ours] = map(Requirement, EXTRAS["vllm"])
    [theirs] = [r for r in map(Requirement, requires("trl")) if r.name == "vllm"]
    versions = ("0.21.9", "0.22.0", "0.31.0", "0.31.1", "0.32.0")
    assert [ours.specifier.contains(v) for v in versions] == [theirs.specifier.contains(v) for v in versions]


def test_uv_gets_the_settings_of_pip():
    from_pip = runpy.run_path(str(ROOT / "scripts" / "install.py"))["from_pip"]
    assert from_pip("") == {}
    assert from_pip("global.find-links='/old'\n:env:.find-links='/wheels /more'\nglobal.timeout='60'") == {
        "UV_FIND_LINKS": "/wheels,/more"
    }
    assert from_pip("global.extra-index-url='\\nfile:///a\\nfile:///b?c=d'\ninstall.index-url='file:///main'") == {
        "UV_INDEX": "file:///a file:///b?c=d",
        "UV_DEFAULT_INDEX": "file:///main",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(tmp_path):
    shutil.copytree(ROOT / "mags_kit", tmp_path / "mags_kit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "-m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels .".split()
    files = {str(p.relative_to(tmp_path)) for p in (tmp_path / "mags_kit").rglob("*") if p.is_file()}
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    assert files <= set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture
def make(tmp_path):
    """`make` in a folder with a space and a letter beyond ASCII."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    folder = tmp_path / "a b ü"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the `make test` that may have started this
    env = {name: value for name, value in os.environ.items() if name not in outer}
    return lambda *arguments: subprocess.run(
        ["make", *arguments], cwd=folder, capture_output=True, text=True, env=env
    )  # fmt: skip


def test_the_folder_may_have_any_name(make):
    for target in ("env", "reproduce", "smoke", "status", "bench", "clean"):
        done = make("-n", target)
        assert done.returncode == 0 and done.stdout and "ü" not in done.stdout, target


def test_a_slip_in_a_variables_name_is_named(make):
    said = make("-n", "status", "PROFIL=paper").stderr
    assert "PROFIL= is no setting of this Makefile; expected one of PROFILE" in said
    fine = ("PROFILE=paper", "SET={seed: 1}", "MAGS_RUNS=x", "CHROMIUM=/x", "OFFLINE=1", "OMP_NUM_THREADS=1")
    assert "no setting" not in make("-n", "status", *fine).stderr


def test_clean_deletes_one_run_and_nothing_else(make, tmp_path):
    for name in ("..", "../x", "a/b", "/tmp", "."):
        done = make("clean", f"NAME={name}")
        assert done.returncode and "expected the name of a folder in runs/" in done.stdout, name
    for name in ("one", "two"):
        (tmp_path / "r ü" / name).mkdir(parents=True)
    assert make("clean", "NAME=one", f"MAGS_RUNS={tmp_path / 'r ü'}").returncode == 0
    assert [p.name for p in (tmp_path / "r ü").iterdir()] == ["two"]


def test_words_on_the_command_line_are_taken_as_they_are(make, tmp_path):
    """A stand-in for Python writes down its arguments; none of a word is run or changed, by make or by a shell."""
    folder, said = tmp_path / "a b ü" / ".venv", tmp_path / "said"
    (folder / "bin").mkdir(parents=True)
    stand_in, ran = folder / "bin" / "python", tmp_path / "ran"
    stand_in.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >'{said}'\n")
    stand_in.chmod(0o755)
    for name in ("bin/uv", ".mags-kit-ready"):
        (folder / name).touch()
    words = (
        "-what?", "--help", "a$b.jsonl", "a$$b", "it's \"so\"", f"`touch {ran}`", f"$(touch {ran})",
        f"$(shell touch {ran})", f"'; touch {ran}; '", f'"; touch {ran}; "', "a\\b\\", "two  blanks ", "#1 of 100%",
        "two\nlines", "a=b", "{seed: 1}", "*?[~]", "é",
    )  # fmt: skip
    takers = {
        "reproduce": "PROFILE NAME SET DATA", "evaluate": "PROFILE NAME SET DATA BENCH MODEL ADAPTER N",
        "look": "IMAGE QUESTION MODEL ADAPTER SET", "plan": "PROFILE SET", "bench": "PROFILE SET", "base": "SET",
        "measure": "SET", "compare": "A B", "chaos": "KILLS",
        **dict.fromkeys(("curate", "results", "status", "merge", "rescore", "check"), "NAME"),
    }  # fmt: skip
    wrong = []
    for target, variables in takers.items():
        for word in words:
            made, names = make(target, *(f"{variable}={word}" for variable in variables.split())), variables.split()
            found = said.read_text().split("\0")
            if sum(word in (argument, argument.partition("=")[2]) for argument in found) != len(names):
                wrong.append((target, word, made.stderr, found))
    defaults = {"evaluate": "--profile=", "reference": "--profile=reference", "base": "--name=base"}
    for target, argument in [*defaults.items(), ("reproduce", "--set="), ("reference PROFILE=", "--profile=")]:
        made = make(*target.split(" "))
        wrong += [] if argument in said.read_text().split("\0") else [(target, made.stderr, said.read_text())]
    for word in words:
        for target in ("clean", "inspect", "smoke"):
            make(target, f"NAME={word}")
    assert wrong == [] and not ran.exists()
