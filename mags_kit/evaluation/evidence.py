"""What an evaluation rests on and what it took: `evidence.json` and `costs.json` of a run.

Evidence is the fingerprint (the first digits of the sha256) of everything that a number comes from, noted when answers
are made, so that what is changed later is seen. Costs differ from machine to machine and from run to run, so no table
of results holds them.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mags_kit import steps as fingerprints
from mags_kit.config import model_path
from mags_kit.method import processes
from mags_kit.records import read_json, read_samples, write_json
from mags_kit.run import Run

WEIGHTS = {"adapter": "adapter_model.safetensors", "base": "model.safetensors"}


def read_costs(run: Run) -> dict:
    """`{checkpoint: {condition: {…}}}`: seconds and tokens of a question, bytes at the peak; {} where none were noted."""
    path = run.path / "costs.json"
    return read_json(path) if path.exists() else {}


@contextmanager
def measured(run: Run, checkpoint: str, name: str, spent: Counter) -> Iterator[None]:
    """Note what a condition took, by the clock and by what its looks counted in `spent`, and what it rests on.

    Seconds count what had to be done: views that lie in the cache already cost next to nothing, and what conditions
    share (round 1; round 2 of a batch that shows the same) counts for the first of them. Memory is the GPU's for this
    condition; without a GPU, the process's highest so far.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if processes.here().is_main_process:
        _forget(run, checkpoint, name)
    start = time.perf_counter()
    yield
    seconds, looks = time.perf_counter() - start, max(spent["looks"], 1)
    if not processes.here().is_main_process:
        return
    # with one look a question; of votes there are several
    count = sum(1 for _ in open(run.trajectories(checkpoint, name), encoding="utf-8")) or 1
    costs = read_costs(run)
    costs.setdefault(checkpoint, {})[name] = {
        "questions": count, "seconds": seconds, "ms a question": 1000 * seconds / count,
        "ms of enlarging a question": 1000 * spent["magnifying"] / looks, "looks a question": spent["looks"] / count,
        "visual tokens a question": spent["visual tokens"] / looks, "peak bytes": _peak(),
    }  # fmt: skip
    write_json(run.path / "costs.json", costs)
    note(run, checkpoint, name)


def _peak() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def note(run: Run, checkpoint: str, name: str) -> None:
    """Note what the stored trajectories of a condition rest on: questions and images, weights, and the file itself."""
    made, known = run.trajectories(checkpoint, name), _known(run)
    known["files"] = {file: fingerprints.digest(run.data / file) for file in _files(run)}
    known["weights"][checkpoint] = _weights(run, checkpoint)
    known["trajectories"][made.name] = fingerprints.digest(made)
    write_json(_path(run), known)


def noted(run: Run, checkpoint: str, name: str) -> None:
    """See that a condition is noted, where a run was killed between its answers and the note."""
    made = run.trajectories(checkpoint, name)
    if processes.here().is_main_process and made.name not in _known(run)["trajectories"]:
        note(run, checkpoint, name)


def _forget(run: Run, checkpoint: str, name: str) -> None:
    """What was noted of answers that are made again."""
    known = _known(run)
    if known["trajectories"].pop(run.trajectories(checkpoint, name).name, None):
        write_json(_path(run), known)


def _path(run: Run) -> Path:
    return run.path / "evidence.json"


def _known(run: Run) -> dict:
    return read_json(_path(run)) if _path(run).exists() else {"files": {}, "weights": {}, "trajectories": {}}


def _files(run: Run) -> list[str]:
    """The list of questions and their images, relative to the run's data."""
    test = run.samples("test")
    return [test.name, *dict.fromkeys(sample.image for sample in read_samples(test))]


def _weights(run: Run, checkpoint: str) -> dict[str, str]:
    """Fingerprints of the base and of the adapter, where they are files at hand."""
    adapter = run.best if checkpoint == "after" else run.config.adapter
    paths = {"adapter": Path(adapter or "-"), "base": Path(model_path(run.config.model))}
    return {
        kind: fingerprints.digest(path / WEIGHTS[kind]) for kind, path in paths.items() if (path / WEIGHTS[kind]).exists()
    }


def problems(run: Run) -> list[str]:
    """A sentence for each thing that is not what the run's answers were measured with; none where nothing is noted."""
    known, found = _known(run), []
    for file, noted in known["files"].items():
        found += _differs(run.data / file, noted, "the questions were answered on another; restore it")
    for name, noted in known["trajectories"].items():
        made = run.path / "trajectories" / name
        found += _differs(made, noted, "it was changed after it was made; restore it, or delete it and evaluate again")
    for checkpoint, noted in known["weights"].items():
        now = _weights(run, checkpoint)
        for kind, digest in noted.items():
            if kind in now and now[kind] != digest:
                found.append(
                    f"the {kind} is not the one that made trajectories/{checkpoint}-* (sha256 {now[kind][:12]}, noted "
                    f"{digest[:12]}); restore it, or delete these and evaluate again"
                )
    return found


def _differs(path: Path, noted: str, advice: str) -> list[str]:
    if not path.exists():
        return [f"{path} is missing; {advice}"]
    now = fingerprints.digest(path)
    return [] if now == noted else [f"{path} differs from what was noted (sha256 {now[:12]}, {noted[:12]}); {advice}"]
