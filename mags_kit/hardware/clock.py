"""Seconds by the clock, peaks of memory, and the rows of a benchmark: what is compared takes turns in one run."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GB = 1e9
RATES = {"s": 1, "ms": 1000}  # of a second; any other unit is things a second


@dataclass(frozen=True)
class Row:
    """One line of the benchmark: a number for each repeat, in `unit`.

    `floor` are the seconds that the matrix products of one repeat need alone, `ratio` is how many times as long the
    median repeat took; None where there are no products, or nothing was timed. `size` is that of a series.
    """

    part: str
    name: str
    unit: str
    values: tuple
    floor: float | None = None
    ratio: float | None = None
    note: str = ""
    size: float | None = None

    @classmethod
    def timed(cls, part: str, name: str, seconds: list[float], unit: str = "s", count: float = 1, floor=None, note=""):
        """A row of timed repeats, each of which did `count` things: seconds or ms of one, or `unit` (things) a second.

        >>> Row.timed("views", "bicubic", [2.0, 4.0], "views/s", 8).values
        (4.0, 2.0)
        """
        values = tuple(RATES[unit] * s / count if unit in RATES else count / s for s in seconds)
        return cls(part, name, unit, values, floor, float(np.median(seconds)) / floor if floor else None, note)

    def told(self) -> dict:
        """The row as JSON holds it, with the quartiles of its numbers."""
        numbers = [value for value in self.values if not isinstance(value, (bool, str))]
        spread = np.quantile(numbers, (0.25, 0.5, 0.75)).tolist() if numbers else [None] * 3
        return {
            "part": self.part, "name": self.name, "unit": self.unit,
            **dict(zip(("q1", "median", "q3"), spread, strict=True)), "values": list(self.values),
            "floor seconds": self.floor, "times the floor": self.ratio, "note": self.note, "size": self.size,
        }  # fmt: skip


def now() -> float:
    """Seconds, when all that was asked of the GPU is done."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return time.perf_counter()


def side_by_side(
    tasks: dict[str, Callable], repeats: int, say: Callable[[str], None], before: Callable = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each task, `repeats` times; the tasks take turns, so that a busy moment hits all of them alike.

    `before` is called before each, and is not timed; so every task should have run once before this.
    """
    seconds = {name: [] for name in tasks}
    for number in range(repeats):
        for name, task in tasks.items():
            say(f"{name} ({number + 1} of {repeats})")
            before()
            start = now()
            task()
            seconds[name].append(now() - start)
    return seconds


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """b of seconds = a * size**b, by least squares of the logarithms: 1 where twice the size takes twice the time.

    >>> round(exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def forget_peak() -> None:
    """Begin anew with `peak`: of the GPU's memory, or where Linux lets it of this process's."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Bytes at the peak since `forget_peak`: in the GPU's tensors, without a GPU of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def say(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
