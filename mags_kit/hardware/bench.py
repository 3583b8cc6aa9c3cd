"""Where people wait: rollouts, a training step, views, starting, growth, each measured beside what it is compared with.

`python -m mags_kit bench` writes `bench.json` and a picture into its run folder; `docs/speed.md` says what the rows
mean. All that is made on the way lies in a temporary folder.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from mags_kit import holder
from mags_kit.data import sets
from mags_kit.hardware import clock, enlarging, growth, loops, starting, stepping
from mags_kit.hardware.clock import GB, Row
from mags_kit.hardware.ground import Ground
from mags_kit.method.policy import precision
from mags_kit.records import read_json, write_json
from mags_kit.runs import Run, environment, open_run, reopen, run_folder

SIZES = {"curated": 1, "validation": 1, "test": 1, "data": "scenes", "own": "", "tracker": "none"}
POOL, FEW = 64, 8  # samples: as many as the largest batch; with `quick`
EARLIER = ("cpu", "smoke")  # runs whose stored durations are shown, the first that is there
PARTS: dict[str, Callable[[Ground], Iterator[Row]]] = {
    "rollouts": loops.rows,
    "rollouts, large": loops.large_rows,
    "training step": stepping.rows,
    "views": enlarging.rows,
    "starting": starting.rows,
    "growth": growth.rows,
}
LONG = ("rollouts, large",)  # left out with `quick`


def earlier() -> Run | None:
    """A run that has been made here, by its default name."""
    for name in EARLIER:
        if run_folder(name).joinpath("config.json").exists():
            return reopen(name)
    return None


def bench(run: Run, of: Run | None, repeats: int, quick: bool = False) -> dict:
    """Measure all parts with the settings of `run`, and what `of` has stored; the result is also `bench.json`."""
    if repeats < 1:
        raise ValueError(f"--repeats {repeats}: expected at least 1")
    begun, rows, peaks = time.perf_counter(), [], []
    result = {"made with": environment(), "quick": quick, "repeats": repeats, "load": [_load()], "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        changes = asdict(run.config) | SIZES | {"pool": FEW if quick else POOL}
        work = open_run(read_json(run.manifest)["profile"], "work", changes, root=Path(folder, "runs"))
        clock.say("drawing scenes")
        sets.prepare(work)
        ground = Ground(work, repeats, quick)
        for name in [part for part in PARTS if not (quick and part in LONG)]:
            clock.forget_peak()
            rows += [row.told() for row in PARTS[name](ground)]
            peaks.append(Row("memory", f"at the peak of: {name}", "GB", (clock.peak() / GB,)).told())
            result["rows"] = rows + peaks
            write_json(run.path / "bench.json", result)  # for whoever waits no longer
        holder.leave(work.path)
    result["rows"] += [row.told() for row in starting.stored_rows(of)] if of else []
    rates = sorted(ground.rates.known.items())
    result["GFLOP/s reached"] = {" x ".join(map(str, shape)): rate / 1e9 for shape, rate in rates}
    result["load"].append(_load())
    result |= {"seconds": time.perf_counter() - begun, "differ": differ(result["rows"])}
    write_json(run.path / "bench.json", result)
    draw(run, result)
    return result


def _load() -> float | None:
    """Processes that want a core, this one among them, over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def differ(rows: list[dict]) -> str:
    """A sentence where trajectories are not what they are one by one; in 16 bits sums may differ with the batch."""
    wrong = [row for row in rows if any(value is False for value in row["values"])]  # which 0.0 is not
    if not wrong or precision() != "float32":
        return ""
    return f"{wrong[0]['name']}: only {wrong[0]['note']}"


def draw(run: Run, result: dict) -> None:
    """The picture, as the run's figure `bench`."""
    import matplotlib.pyplot as plt

    from mags_kit.report import charts, speeds

    made = result["made with"]
    quick = ", quick" if result["quick"] else ""
    title = f"{made['device']}, torch {made['versions']['torch']}, {result['repeats']} repeats{quick}"
    figure = speeds.show_speeds(result["rows"], title)
    charts.save(figure, run, "bench")
    plt.close(figure)


def table(result: dict) -> str:
    """The rows as text, part by part: median, quartiles, and how many times the floor it is."""
    lines, part = [], None
    for row in result["rows"]:
        if row["part"] != part:
            part = row["part"]
            lines += ["", part]
        lines.append(f"  {row['name']:<58}{_told(row):<50}{row['note']}".rstrip())
    busy = ", ".join("?" if load is None else f"{load:.1f}" for load in result["load"])
    lines += ["", f"{result['made with']['device']}; load before and after: {busy}; {result['seconds']:.0f} s in all"]
    return "\n".join(lines).strip()


def _told(row: dict) -> str:
    if row["median"] is None:
        return ", ".join(map(str, row["values"]))
    text = f"{row['median']:.3g}" + (f" ({row['q1']:.3g} to {row['q3']:.3g})" if len(row["values"]) > 1 else "")
    floor = f", {row['times the floor']:.1f} times the floor" if row["times the floor"] else ""
    return f"{text} {row['unit']}".rstrip() + floor
