"""From a command to its first sign of life, in fresh processes; and what an earlier run's parts took, as it noted."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mags_kit.hardware.clock import GB, Row, say, side_by_side
from mags_kit.hardware.ground import Ground
from mags_kit.records import read_json
from mags_kit.report.evidence import read_costs
from mags_kit.runs import Run

PART, STORED = "starting", "an earlier run"
MOST = 3  # repeats, at most: a fresh process takes seconds


def rows(ground: Ground) -> Iterator[Row]:
    """Seconds to import, to help, to a run's first line, and of a look up to its picture."""
    sample, folder = ground.samples[0], ground.run.path.parent
    image = str(ground.run.data / sample.image)
    kit = [sys.executable, "-m", "mags_kit"]
    commands = {
        "a fresh Python": [sys.executable, "-c", "pass"],
        "import mags_kit": [sys.executable, "-c", "import mags_kit"],
        "python -m mags_kit --help": [*kit, "--help"],
        "run: the first line of progress": [*kit, "run", "--profile", "smoke", "--name", "started"],
        "look: one image, up to its picture": [*kit, "look", "--image", image, "--question", sample.question],
    }
    tasks = {
        name: lambda c=command, n=name: _until(c, folder, n.startswith("run")) for name, command in commands.items()
    }
    for name, seconds in side_by_side(tasks, min(MOST, ground.repeats), lambda text: say(f"{PART}: {text}")).items():
        yield Row.timed(PART, name, seconds)


def _until(command: list[str], runs: Path, first_line: bool) -> None:
    """Run a command to its end, or to its first line, after which it is killed with all that it started."""
    environ = os.environ | {"MAGS_RUNS": tempfile.mkdtemp(dir=runs)}  # one that nobody held before
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environ, start_new_session=True, **pipes)
    if first_line:
        line = process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not line:
            raise RuntimeError(f"{' '.join(command[1:])} said nothing; expected a line of progress")
        return
    _, error = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {process.returncode}: {error.strip()[-300:]}")


def stored_rows(run: Run) -> Iterator[Row]:
    """Seconds of each executed notebook of a run, and of each way to answer, with the memory at its peak; measured
    when and where that run was made."""
    for path in sorted(run.notebooks.glob("[0-9]*.ipynb")):
        duration = read_json(path)["metadata"].get("papermill", {}).get("duration")
        if duration:
            yield Row(STORED, f"notebook {path.stem}", "s", (duration,), note=run.path.name)
    for moment, conditions in read_costs(run).items():
        for name, cost in conditions.items():
            row = f"{moment} RL: {name}" if moment != "alone" else name
            note = f"{run.path.name}; {cost['peak bytes'] / GB:.2f} GB at the peak"
            yield Row(STORED, row, "ms/question", (cost["ms a question"],), note=note)
