"""The run folder that belongs to one set of settings, and its manifest."""

import importlib.metadata
import json
import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from mags_kit.config import Config, load_config
from mags_kit.records import read_json, write_json

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Run:
    """A run folder and the settings that made it: the one place for paths."""

    path: Path
    config: Config

    @property
    def cache(self) -> Path:
        """Magnified views, shared by all runs beside this one."""
        return self.path.parent / ".views"

    def file(self, *parts: str) -> Path:
        return self.path.joinpath(*parts)

    def done(self, step: str, **facts) -> None:
        """Note in the manifest that a step is done, with what was made."""
        manifest = read_json(self.file("manifest.json"))
        manifest["steps"][step] = facts
        write_json(self.file("manifest.json"), manifest)


def run_folder(name: str, root: str | Path = "") -> Path:
    """Where a run lies, relative, so that no record names this machine."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"NAME={name!r}; expected letters, digits, '.', '_' and '-' only")
    return Path(os.path.relpath(root or PROJECT / "runs")) / name


def open_run(profile: str = "cpu", name: str = "", settings: dict | str | None = None, root: str | Path = "") -> Run:
    """The run folder `root/name` (by default named as the profile), made if need be.

    A folder that was made with other settings is an error: its results would mix with this run's.
    """
    config, path = load_config(profile, settings), run_folder(name or profile, root)
    wanted = json.loads(json.dumps(asdict(config)))
    if path.joinpath("config.json").exists():
        made = read_json(path / "config.json")
        differ = [
            f"{k}={made.get(k)!r} (now {wanted.get(k)!r})" for k in {**made, **wanted} if made.get(k) != wanted.get(k)
        ]
        if differ:
            raise ValueError(f"{path} was made with {', '.join(differ)}; choose another NAME=, or delete the folder")
    else:
        write_json(path / "manifest.json", {"profile": profile, "environment": environment(), "steps": {}})
        write_json(path / "config.json", wanted)
    return Run(path, config)


def branch(run: Run, name: str, **changes) -> Run:
    """A run inside `run` with some settings changed. It shares the data and the views, and trains anew."""
    profile = read_json(run.file("manifest.json"))["profile"]
    inside = open_run(profile, name, asdict(run.config) | changes, run.file("branches"))
    run.cache.mkdir(exist_ok=True)  # there may be no views yet, and nothing can be written through a dangling link
    for folder, target in (("data", run.file("data")), ("../.views", run.cache)):
        link = inside.file(folder)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(target, link.parent))
    return inside


def environment() -> dict:
    """Versions, machine and commit, for the manifest."""
    import subprocess

    import torch

    names = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "basicsr", "pillow", "numpy")
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
        "commit": git.stdout.strip() or "unknown",
    }
