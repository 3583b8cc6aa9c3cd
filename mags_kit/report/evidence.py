"""What an evaluation rests on and what it took: `evidence.json` and `costs.json` of a run.

Evidence is the sha256 of everything that a number comes from, noted when it is first used, so that what is changed
later is seen. Costs differ from machine to machine and from run to run, so no table of results holds them.
"""

import hashlib
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mags_kit.method import processes
from mags_kit.method.policy import model_path
from mags_kit.records import read_json, read_samples, write_json
from mags_kit.runs import Run

WEIGHTS = {"adapter": "adapter_model.safetensors", "base": "model.safetensors"}


def read_costs(run: Run) -> dict:
    """`{moment: {condition: {…}}}`: seconds and tokens of a question, bytes at the peak; {} where none were noted."""
    path = run.path / "costs.json"
    return read_json(path) if path.exists() else {}


@contextmanager
def measured(run: Run, moment: str, name: str, spent: Counter) -> Iterator[None]:
    """Note what a condition took, by the clock and by what its looks counted in `spent`, and what it rests on.

    Seconds of enlarging count what had to be done: views that lie in the cache already cost next to nothing. Memory is
    the GPU's for this condition; without a GPU, the process's highest so far.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    yield
    seconds, looks = time.perf_counter() - start, max(spent["looks"], 1)
    if not processes.here().is_main_process:
        return
    # with one look a question; of votes there are several
    count = sum(1 for _ in open(run.trajectories(moment, name), encoding="utf-8")) or 1
    costs = read_costs(run)
    costs.setdefault(moment, {})[name] = {
        "questions": count, "seconds": seconds, "ms a question": 1000 * seconds / count,
        "ms of enlarging a question": 1000 * spent["magnifying"] / looks, "looks a question": spent["looks"] / count,
        "visual tokens a question": spent["visual tokens"] / looks, "peak bytes": _peak(),
    }  # fmt: skip
    write_json(run.path / "costs.json", costs)
    note(run, moment, name)


def _peak() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def note(run: Run, moment: str, name: str) -> None:
    """Note what the stored trajectories of a condition rest on: questions and images, weights, and the file itself."""
    path = run.path / "evidence.json"
    known = read_json(path) if path.exists() else {"files": {}, "weights": {}, "trajectories": {}}
    if not known["files"]:
        known["files"] = {file: sha256(run.data / file) for file in _files(run)}
    known["weights"].setdefault(moment, _weights(run, moment))
    made = run.trajectories(moment, name)
    known["trajectories"][made.name] = sha256(made)
    write_json(path, known)


def _files(run: Run) -> list[str]:
    """The list of questions and their images, relative to the run's data."""
    test = run.samples("test")
    return [test.name, *dict.fromkeys(sample.image for sample in read_samples(test))]


def _weights(run: Run, moment: str) -> dict[str, str]:
    """sha256 of the base and of the adapter, where they are files at hand."""
    adapter = run.config.adapter if moment == "before" else run.best
    paths = {"adapter": Path(adapter or "-"), "base": Path(model_path(run.config.model))}
    return {kind: sha256(path / WEIGHTS[kind]) for kind, path in paths.items() if (path / WEIGHTS[kind]).exists()}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problems(run: Run) -> list[str]:
    """A sentence for each thing that is not what the run's answers were measured with; none where nothing is noted."""
    path = run.path / "evidence.json"
    if not path.exists():
        return []
    known, found = read_json(path), []
    for file, noted in known["files"].items():
        found += _differs(run.data / file, noted, "the questions were answered on another; restore it")
    for name, noted in known["trajectories"].items():
        made = run.path / "trajectories" / name
        found += _differs(made, noted, "it was changed after it was made; restore it, or delete it and evaluate again")
    for moment, noted in known["weights"].items():
        now = _weights(run, moment)
        for kind, digest in noted.items():
            if kind in now and now[kind] != digest:
                found.append(
                    f"the {kind} is not the one that answered {moment} RL (sha256 {now[kind][:12]}, noted "
                    f"{digest[:12]}); restore it, or delete trajectories/{moment}-* and evaluate again"
                )
    return found


def _differs(path: Path, noted: str, advice: str) -> list[str]:
    if not path.exists():
        return [f"{path} is missing; {advice}"]
    now = sha256(path)
    return [] if now == noted else [f"{path} differs from what was noted (sha256 {now[:12]}, {noted[:12]}); {advice}"]
