"""What can be said of the lock, the uv wrapper and the package without an index; `make check-lock` asks one."""

import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = [Requirement(line) for line in LOCK.splitlines() if not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    Requirement(r) for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for r in group
]
PLATFORMS = {
    "Linux x86-64": ("linux", "x86_64", "Linux", "posix"),
    "Linux arm64": ("linux", "aarch64", "Linux", "posix"),
    "macOS arm64": ("darwin", "arm64", "Darwin", "posix"),
    "Windows": ("win32", "AMD64", "Windows", "nt"),
}
PYTHONS = ("3.11.7", "3.12.1")


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


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_gets_one_version_of_each_package(platform, python):
    found = locked(platform, python)
    assert {name: versions for name, versions in found.items() if len(versions) != 1} == {}
    for wanted in DIRECT:
        [version] = found[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{wanted} is locked to {version}; run `make lock`"


def test_markers_tell_the_platforms_apart():
    assert "pywinpty" in locked("Windows", "3.12.1") and "pywinpty" not in locked("Linux x86-64", "3.12.1")
    assert "nvidia-cublas" in locked("Linux arm64", "3.11.7") and "nvidia-cublas" not in locked("macOS arm64", "3.11.7")


def test_the_lock_names_no_machine_and_no_build():
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINNED)  # so none is `+cpu`
    assert not re.search(r"://|^\s*-|file:", LOCK, re.MULTILINE)


def test_the_pythons_are_those_that_are_tested():
    for version, accepted in {"3.10": False, "3.11": True, "3.12": True, "3.13": False}.items():
        assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version) is accepted
        assert (f"({version.replace('.', ', ')})" in (ROOT / "Makefile").read_text()) is accepted


def test_uv_is_told_what_pip_is_told():
    from_pip = runpy.run_path(str(ROOT / "mags_kit" / "install.py"))["from_pip"]
    assert from_pip("") == {}
    assert from_pip("global.find-links='/old'\n:env:.find-links='/wheels /more'\nglobal.timeout='60'") == {
        "UV_FIND_LINKS": "/wheels,/more"
    }
    assert from_pip("global.extra-index-url='\\nfile:///a\\nfile:///b?c=d'\ninstall.index-url='file:///main'") == {
        "UV_INDEX": "file:///a file:///b?c=d",
        "UV_DEFAULT_INDEX": "file:///main",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_a_missing_basicsr_is_one_sentence_with_the_command(monkeypatch):
    from mags_kit import compat

    monkeypatch.setitem(sys.modules, "basicsr", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError) as raised:
        compat.basicsr_archs()
    assert compat.BASICSR in str(raised.value)
    assert compat.BASICSR.removeprefix("pip install ") in (ROOT / "Makefile").read_text()
    assert compat.BASICSR in (ROOT / "README.md").read_text()


def test_the_wheel_holds_the_whole_package(tmp_path):
    shutil.copytree(ROOT / "mags_kit", tmp_path / "mags_kit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "-m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir wheels .".split()
    files = {str(p.relative_to(tmp_path)) for p in (tmp_path / "mags_kit").rglob("*") if p.is_file()}
    subprocess.run([sys.executable, *build], cwd=tmp_path, check=True)
    [wheel] = (tmp_path / "wheels").glob("*.whl")
    assert files <= set(zipfile.ZipFile(wheel).namelist())
