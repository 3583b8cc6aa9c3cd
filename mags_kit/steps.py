"""The steps of a run, their outputs, and whether these still fit their inputs and the code.

What a step is made from (its input files and the code of the kit) is noted in `made/` before its outputs are begun, so
that outputs beside a note fit it whenever a run was killed. Settings need no note: a run folder has one set of them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from mags_kit import lock
from mags_kit.config import COLD_START, Config, model_path
from mags_kit.records import read_json, write_json
from mags_kit.run import Run

KIT = Path(__file__).parent
CODE = ("config.py", "records.py", "images.py", "data", "method")  # what the numbers of a run come from
DONE, STALE, UNFINISHED, MISSING = "done", "stale", "unfinished", "missing"


@dataclass(frozen=True)
class Step:
    """One thing that a run makes. `outputs` are moved away when it is made again."""

    name: str
    run: Run
    outputs: tuple[Path, ...]
    inputs: tuple[str | Path, ...] = ()  # files, folders and hub ids whose content it is made from
    finished: Callable[[], bool] | None = None  # by default: all outputs are there
    code: tuple[str, ...] = CODE

    @property
    def note(self) -> Path:
        return self.run.path / "made" / f"{self.name.replace(', ', '-').replace(' ', '_')}.json"

    def made_from(self) -> dict[str, str]:
        """Digest of each input and of the code."""
        made = {"the kit's code": digest_of_code(self.code)}
        for path in self.inputs:  # two files of one name share an entry
            name = path if _on_hub(path) else Path(path).name
            made[name] = made.get(name, "") + digest(path)
        return made

    def state(self) -> tuple[str, str]:
        """Where the step stands, and what has changed."""
        there = any(path.exists() for path in self.outputs)
        finished = self.finished() if self.finished else all(path.exists() for path in self.outputs)
        if not there:
            return (DONE, "nothing to do") if finished else (MISSING, "")
        noted, now = (read_json(self.note) if self.note.exists() else {}), self.made_from()
        changed = [name for name in now if noted.get(name) != now[name]]
        if changed:
            return STALE, f"changed: {', '.join(changed)}"
        return (DONE if finished else UNFINISHED), ""


def start(step: Step) -> bool:
    """Whether a step is to be made; if so, the run is held and what does not fit is moved to `old/`. An unfinished step
    keeps its outputs, to be gone on with. Of several processes the main one alone may ask."""
    state, why = step.state()
    if state == DONE:
        return False
    lock.hold((step.run.parent or step.run).path, "a notebook")
    if state == STALE:
        old = next(old for n in count(1) if not (old := step.run.path / "old" / str(n)).exists())
        print(f"{step.name} is made again ({why}); what was there lies in {old}", flush=True)
        for path in filter(Path.exists, (*step.outputs, step.note)):
            place = old / path.relative_to(step.run.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    write_json(step.note, step.made_from())
    return True


def _on_hub(path: str | Path) -> bool:
    return isinstance(path, str) and not Path(path).exists()


def digest(path: str | Path) -> str:
    """sha256 of a file or of all files of a folder, shortened; of a model on the hub the commit in its cache."""
    if _on_hub(path):
        found = try_to_load_from_cache(path, "config.json")
        return Path(found).parent.name if isinstance(found, str) else "main"
    path, made = Path(path), hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and file.name != "README.md":
            stat = file.stat()
            made.update(file.relative_to(path).as_posix().encode())
            made.update(_content(file.absolute(), stat.st_size, stat.st_mtime_ns))
    return made.hexdigest()[:16]


@cache
def _content(file: Path, size: int, time: int) -> bytes:
    """sha256 of a file, read once as long as its size and time stay."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


@cache
def digest_of_code(parts: tuple[str, ...]) -> str:
    """Of modules and folders of the kit."""
    files = (file for part in parts for file in (sorted((KIT / part).rglob("*.py")) or [KIT / part]))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _weights(run: Run, checkpoint: str = "base") -> tuple[str | Path, ...]:
    """What a checkpoint's answers depend on beside the code: the model and its adapter."""
    after = {"trained": run.best, "last": run.adapter(f"stage {len(run.config.stage_steps)}")}
    adapter = after.get(checkpoint, run.config.adapter)
    return model_path(run.config.model), *([adapter] if adapter else [])


def own_rewards(config: Config) -> tuple[Path, ...]:
    """The files of the user's own rewards."""
    return tuple(Path(name.rpartition(":")[0]) for name in config.rewards if ".py:" in name)


def data(run: Run) -> Step:
    """The lists of candidates, validation and test questions, and their images; of a model alone the test's only."""
    run = run.parent or run
    config = run.config
    lists = [run.samples(name) for name in ("pool", "validation", "test") if name == "test" or getattr(config, name)]
    own = tuple(Path(file) for file in (config.own, config.train, config.curated_ids) if file)
    return Step("data", run, (run.data,), own, lambda: all(path.exists() for path in lists))


def pool(run: Run) -> Step:
    """The answers that measure the candidates."""
    run = run.parent or run
    return Step("pool", run, (run.trajectories("pool"),), (*_weights(run), run.samples("pool")))


def curated(run: Run) -> Step:
    """The list of the training samples."""
    inputs = run.samples("pool"), (run.parent or run).trajectories("pool")
    return Step("curated", run, (run.samples("curated"),), inputs)


def training(run: Run) -> Step:
    """All stages, as one: the best adapter is chosen over them."""
    wanted = {f"stage {i + 1}" for i, steps in enumerate(run.config.stage_steps) if steps}
    inputs = (*_weights(run), run.samples("curated"), run.samples("validation"), *own_rewards(run.config))
    if run.config.cold_start:
        wanted.add(COLD_START)
        inputs += ((run.parent or run).trajectories("pool"),)

    def finished() -> bool:
        return wanted <= set(read_json(run.training_log)["stages"] if run.training_log.exists() else ())

    return Step("training", run, (run.path / "training",), inputs, finished)


def answers(run: Run, checkpoint: str, condition: str) -> Step:
    """The test set's answers by a checkpoint under one condition."""
    inputs = (*_weights(run, checkpoint), run.samples("test"), *own_rewards(run.config))
    outputs = (run.trajectories(checkpoint, condition),)
    return Step(f"{checkpoint}, {condition}", run, outputs, inputs, code=(*CODE, "evaluation/conditions.py"))


def draws(run: Run, checkpoint: str) -> Step:
    """The sampled answers of a checkpoint to questions of the test set, for pass@k; a file for each answer."""
    outputs = tuple(run.path / "pass_at_k" / f"{checkpoint}-{i + 1}.jsonl" for i in range(run.config.pass_k))
    inputs = (*_weights(run, checkpoint), run.samples("test"))
    return Step(f"{checkpoint}, pass@k", run, outputs, inputs, code=(*CODE, "evaluation/pass_at_k.py"))


def base(run: Run) -> Step:
    """The embedded base model, trained from nothing."""
    folder = run.path / "base"
    return Step("base", run, (folder,), (), (folder / "model.safetensors").exists, (*CODE, "tiny_base"))
