"""The run folder: one set of settings and the paths of all that is made with them; its branches and its manifest."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mags_kit.config import CURRICULA, PROFILES, Config, load_config
from mags_kit.records import read_json, write_json

CHECKOUT = Path(__file__).parents[1]
PROJECT = CHECKOUT if CHECKOUT.joinpath("pyproject.toml").exists() else Path.cwd()  # the kit may be installed by pip
NAME = r"[\w-][\w.-]*"  # of a run folder: none that leaves its root
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "basicsr", "pillow", "numpy")
NO_PHOTOS = "The embedded tiny model knows no photos, only drawn scenes: what it answers about photos means nothing."
TINY = (
    "The policy is the embedded tiny VLM, which was taught to look without regard to the question: these numbers are "
    "about that model and say nothing about large ones."
)


def _inside(*parts: str) -> property:
    """A property of a run: the path of a file or folder in its folder."""
    return property(lambda run: run.path.joinpath(*parts))


@dataclass(frozen=True)
class Run:
    """A run folder and the settings that made it: the one place for paths.

    A branch is a run inside another, its `parent`: it shares the parent's data, its folder of views, and trains anew.
    """

    path: Path
    config: Config
    parent: "Run | None" = None

    best = _inside("training", "best")  # the adapter with the highest validation accuracy less costs, over all stages
    training_log = _inside("training", "state.json")  # finished stages, the trainer's log, validation accuracy by step
    metrics = _inside("metrics.json")
    findings = _inside("findings.json")  # results beside accuracy, see evaluation.analysis
    report = _inside("report.html")
    branches = _inside("branches")  # the folder of the runs inside this one
    manifest = _inside("manifest.json")  # the profile, versions and machine, and facts about the data
    figures = _inside("figures")
    notebooks = _inside("notebooks")  # executed copies, and the same as HTML

    @property
    def data(self) -> Path:
        """The folder of images and lists of samples; a sample's image path is relative to it."""
        return self.parent.data if self.parent else self.path / "data"

    @property
    def views(self) -> Path:
        """Cache of magnified views, shared by all runs beside this one."""
        return self.parent.views if self.parent else self.path.parent / ".views"

    def samples(self, name: str) -> Path:
        """The list `pool`, `validation`, `test` or `curated`; a branch has its own `curated`."""
        return (self.path if self.parent and name == "curated" else self.data) / f"{name}.jsonl"

    def trajectories(self, checkpoint: str, condition: str = "") -> Path:
        """Answers to the test set by a checkpoint (`base`, `trained`, `last`: the end of training, or `alone`) under a
        condition (see evaluation.conditions); or those that measured the `pool`."""
        label = condition.replace(", ", "-").replace(" ", "_")
        return self.path / "trajectories" / f"{checkpoint}{'-' * bool(label)}{label}.jsonl"

    def stage(self, name: str) -> Path:
        """The trainer's folder of a stage: checkpoints and validation results."""
        return self.path / "training" / name

    def adapter(self, stage: str) -> Path:
        """The LoRA adapter at the end of a stage."""
        return self.stage(stage) / "adapter"

    @property
    def caution(self) -> str:
        """A warning where the questions are about photos and the model has seen none; else empty."""
        photos = self.config.own or self.config.train or self.config.data == "benchmarks"
        return NO_PHOTOS + self._trained_on if photos and self.config.model == "embedded" else ""

    @property
    def scope(self) -> str:
        """One sentence on what the numbers of this run are about."""
        policy = TINY if self.config.model == "embedded" else f"The policy is {self.config.model}.{self._trained_on}"
        return self.caution or policy

    @property
    def _trained_on(self) -> str:
        file = Path(self.config.train).name
        return f" Its training samples and validation questions come from {file}." if file else ""

    def note(self, name: str, **facts) -> None:
        """Write facts about the data into the manifest."""
        manifest = read_json(self.manifest)
        manifest["steps"][name] = facts
        write_json(self.manifest, manifest)


def run_folder(name: str, root: str | Path = "") -> Path:
    """In `root`, else in the folder `MAGS_RUNS`, else in `runs/` of the project; relative, so that no record names this
    machine."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"NAME={name!r}; expected letters, digits, '.', '_' and '-' only, and no '.' at its start")
    return Path(os.path.relpath(root or os.environ.get("MAGS_RUNS") or PROJECT / "runs")) / name


def open_run(profile: str = "cpu", name: str = "", settings: dict | str | None = None, root: str | Path = "") -> Run:
    """The run folder `root/name` (by default named as the profile), made if need be.

    A folder that was made with other settings is an error: its results would mix with this run's. A setting that an
    older kit did not have counts as its profile's default.
    """
    config, path = load_config(profile, settings), run_folder(name or profile, root)
    wanted = _plain(config)
    if path.joinpath("config.json").exists():
        made_by, stored = _made_with(path)
        stored = _plain(PROFILES.get(made_by, Config())) | stored  # an older kit had fewer settings
        names = [k for k in {**stored, **wanted} if stored.get(k) != wanted.get(k)]
        if differ := [f"{k}={stored.get(k)!r} (now {wanted.get(k)!r})" for k in names]:
            raise ValueError(f"{path} was made with {', '.join(differ)}; choose another NAME=, or delete the folder")
    else:
        write_json(path / "manifest.json", {"profile": profile, "environment": environment(), "steps": {}})
        write_json(path / "config.json", wanted)
    return Run(path, config)


def _made_with(path: Path) -> tuple[str, dict]:
    """Profile and settings of a run folder; ValueError where its files are missing or not the kit's."""
    files = (path / "manifest.json", path / "config.json")
    match [read_json(file) if file.exists() else None for file in files]:
        case [{"profile": str(profile)}, dict(settings)]:
            return profile, settings
    expected = "expected the manifest.json and config.json of a run"
    raise ValueError(f"{path}: {expected}; restore them, or take another NAME=")


def _plain(config: Config) -> dict:
    """Settings as JSON holds them."""
    return json.loads(json.dumps(asdict(config)))


def made_before(name: str, root: str | Path = "") -> Path:
    """The folder of a run by its name alone; ValueError where there is none."""
    path = run_folder(name, root)
    if not path.joinpath("config.json").exists():
        expected = "expected the name of a folder under runs/ with a config.json"
        raise ValueError(f"NAME={name!r}: {expected}; `make reproduce NAME=…` makes one")
    return path


def reopen(name: str, root: str | Path = "") -> Run:
    """A run that was made before, by its name alone."""
    profile, settings = _made_with(made_before(name, root))
    return open_run(profile, name, settings, root)


def branch(run: Run, name: str, **changes) -> Run:
    """A run inside `run` with some settings changed. It shares the data and the views, and trains anew."""
    profile = read_json(run.manifest)["profile"]
    inside = open_run(profile, name, read_json(run.path / "config.json") | changes, run.branches)
    return replace(inside, parent=run)


def branch_name(seed: int, changes: dict) -> str:
    """Of the branch with another seed and settings, as `seeds` and `variants` have them."""
    return "-".join([re.sub(r"[^\w.]+", "-", str(value)).strip("-") for value in (*changes.values(), f"seed-{seed}")])


def seeds(config: Config) -> tuple[int, ...]:
    return (config.seed, *config.other_seeds)


def variants(config: Config) -> dict[str, dict]:
    """The variants that notebook 06 compares, name -> settings changed; the first is the run's own curriculum."""
    own, amount = config.curriculum, "the named" if config.curated_ids else config.curated
    rows = {f"{own}, {amount} samples": {}}
    others = [order for order in CURRICULA if order in config.orders and order != own]
    rows |= {f"{order}, {amount} samples": {"curriculum": order} for order in others}
    sizes = () if config.curated_ids else config.sizes  # with the samples given, orders alone can vary
    return rows | {f"{own}, {size} samples": {"curated": size} for size in sizes}


def environment() -> dict:
    """Versions of the libraries that numbers depend on, machine and commit, for the manifest."""
    import torch

    installed = {found.name.lower(): found.version for found in importlib.metadata.distributions()}
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    on_gpu = torch.cuda.is_available()
    return {
        "versions": {name: installed.get(name, "missing") for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "commit": git.stdout.strip() or "unknown",
    }


def mend_modes(folder: Path) -> None:
    """Give the weights below a folder the mode that the user's umask gives; safetensors writes every file as 0600."""
    umask = os.umask(0)  # it can only be read by setting it
    os.umask(umask)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o666 & ~umask)
