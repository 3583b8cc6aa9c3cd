"""Kill a small run again and again, at random, and see that it ends as if nothing had been: `make chaos`.

One run is left alone; another is killed in every step of it, started again by the same command until it ends, and
compared with the first byte for byte. Who is killed takes turns, see VICTIMS.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from mags_kit import lock, pipeline
from mags_kit.config import load_config
from mags_kit.records import read_json, write_json
from mags_kit.run import Run, run_folder

PROFILE, NAME = "smoke", "run"  # a run in a root of its own, so that it has its own cache of views
SETTINGS = {"stage_steps": [2, 3]}  # so that a stage is gone on with in its middle, too
SHORTEST = {"pool": 6, "curated": 3, "validation": 3, "test": 3, "stage_steps": [1, 2]}
NOTEBOOKS = ("01_data_curation", "02_curriculum_rl", "03_evaluation", "04_regions")
KILLS_A_ROUND = 10  # then the run may end, is compared, and another begins
PATIENCE = 120  # seconds in which a command has to end by itself, one of whose processes was killed
COMPARED = (
    "metrics.json", "data/*.jsonl", "trajectories/*.jsonl", "training/best/adapter_model.safetensors",
    "training/*/rollouts.jsonl",
)  # fmt: skip
END = "the end"
VICTIMS = {
    "command": "its process group; a kernel is an orphan then, and has to notice",
    "child": "its kernel, or one of its processes; the command has to notice, and to say so in a sentence",
    "all": "the command and all that it started, as where a machine goes down",
}


@dataclass(frozen=True)
class Target:
    """A run that can be started again and again; `short`: without notebooks, at the shortest."""

    root: Path
    short: bool
    processes: int = 1

    @property
    def settings(self) -> dict:
        return SHORTEST if self.short else SETTINGS

    @property
    def run(self) -> Run:
        return Run(self.root / NAME, load_config(PROFILE, self.settings))

    def start(self) -> subprocess.Popen:
        launch = [sys.executable]
        if self.processes > 1:
            config = Path(__file__).parent / "launch" / "ddp.yaml"
            launch += ["-m", "accelerate.commands.launch", "--config_file", str(config), "--main_process_port", "0"]
            launch += ["--num_processes", str(self.processes)]
        parts = ["curate", "train", "evaluate"] if self.short else ["run"]
        options = ["--profile", PROFILE, "--name", NAME, "--set", json.dumps(self.settings)]
        environ = os.environ | {"MAGS_RUNS": str(self.root), "OMP_NUM_THREADS": "1"}
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / "log.txt", "ab") as log:
            command = [*launch, "-m", "mags_kit", *parts, *options]
            return subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)

    def places(self) -> dict[str, bool]:
        """What the run makes, in order, and whether it is there."""
        there = {}
        for step in status.every(self.run, NOTEBOOKS):
            if step.name == "training":
                log = self.run.training_log
                stages = read_json(log)["stages"] if log.exists() else []
                there |= {f"stage {i + 1}": f"stage {i + 1}" in stages for i in range(len(self.run.config.stage_steps))}
            elif not self.short or step.name not in (*NOTEBOOKS, "report"):
                there[step.name] = step.finished() if step.finished else all(path.exists() for path in step.outputs)
        return there

    def place(self) -> str:
        """The first that is not there yet."""
        return next((name for name, there in self.places().items() if not there), END)

    def made(self) -> dict[str, str]:
        """File -> sha256 of what is compared."""
        files = sorted(path for pattern in COMPARED for path in self.run.path.glob(pattern))
        return {
            path.relative_to(self.run.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    def last_words(self) -> str:
        lines = self.root.joinpath("log.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def leftovers(self) -> list[str]:
        """What an interrupted run has left that is not whole."""
        path = self.run.path
        halves = [*path.rglob("*.part"), *path.glob("notebooks/partial_*"), *self.root.glob(".views/*/*.part")]
        halves += [c for c in path.glob("training/*/checkpoint-*") if not (c / "trainer_state.json").exists()]
        return [os.path.relpath(half, self.root) for half in halves]


def chaos(name: str, kills: int, short: bool = False, processes: int = 1, seed: int = 0) -> dict:
    """Kill a run `kills` times; what is in `chaos.json`, written after each kill. ValueError where a start fails."""
    folder = run_folder(name)
    lock.hold(folder, "`mags_kit chaos`")
    rng, short = random.Random(seed), short or processes > 1
    alone, killed = (Target(folder / kind, short, processes) for kind in ("undisturbed", "killed"))
    for target in (alone, killed):
        shutil.rmtree(target.root, ignore_errors=True)
    print(f"a run that is left alone, in {alone.root} …", flush=True)
    seconds = _timed(alone)
    said = ", ".join(f"{place} {s:.0f}" for place, s in seconds.items())
    print(f"it took {sum(seconds.values()):.0f} s: {said}", flush=True)
    result = {"wanted": kills, "seconds": seconds, "undisturbed": alone.made(), "kills": [], "rounds": []}
    try:
        while len(result["kills"]) < kills and all(done["same"] for done in result["rounds"]):
            shutil.rmtree(killed.root, ignore_errors=True)
            left = min(KILLS_A_ROUND, kills - len(result["kills"]))
            _round(killed, seconds, left, rng, result, folder / "chaos.json")
    except ValueError as error:
        result["failed"] = str(error)
        raise
    finally:
        result["same"] = "failed" not in result and all(done["same"] for done in result["rounds"])
        write_json(folder / "chaos.json", result)
        lock.leave(folder)
    return result


def _timed(target: Target) -> dict[str, float]:
    """Run to the end: the seconds that each place took."""
    seconds, last, process = dict.fromkeys([*target.places(), END], 0.0), time.monotonic(), target.start()
    while process.poll() is None:
        time.sleep(0.2)
        seconds[target.place()] += time.monotonic() - last
        last = time.monotonic()
    if process.returncode:
        raise ValueError(f"the run that was left alone failed ({target.root / 'log.txt'}): {target.last_words()}")
    return {place: round(s, 1) for place, s in seconds.items()}


def _round(target: Target, seconds: dict, kills: int, rng: random.Random, result: dict, file: Path) -> None:
    """A run from nothing, killed at random places in their order, to its end."""
    order = list(seconds)
    weights = [1 / 4 if ", " in place else 1 for place in order]  # answers before and after RL have four each
    for aim in sorted(rng.choices(order[:-1], weights[:-1], k=kills), key=order.index):
        row = _kill(target, aim, seconds, rng, len(result["kills"]))
        if row is None:  # it ended before: the rest is for another round
            break
        result["kills"].append(row)
        write_json(file, result)
        left = f"; left: {', '.join(row['left'])}" if row["left"] else ""
        print(
            f"kill {len(result['kills'])} of {result['wanted']}: {row['victim']}, {row['seconds']} s after its start, "
            f"in {row['place']}{left}",
            flush=True,
        )
    code = target.start().wait()
    if code:
        raise ValueError(f"a start after a kill failed ({target.root / 'log.txt'}): {target.last_words()}")
    made, wanted = target.made(), result["undisturbed"]
    other = sorted(name for name in {**made, **wanted} if made.get(name) != wanted.get(name))
    result["rounds"].append({"kills": len(result["kills"]), "same": not other, "differ": other})
    print(
        f"the run ended: {'the same, byte for byte' if not other else 'not the same: ' + ', '.join(other)}", flush=True
    )


def _kill(target: Target, aim: str, seconds: dict, rng: random.Random, number: int) -> dict | None:
    """Start, and kill at a random moment of the place `aim`, or at once where it is past that; None: it had ended."""
    order, begun = list(seconds), time.monotonic()
    delay = rng.uniform(0, seconds[aim])
    if target.place() == aim:
        delay += rng.uniform(0, seconds[order[0]])  # starting takes as long again
    process = target.start()
    while process.poll() is None and order.index(target.place()) < order.index(aim):
        time.sleep(0.05)
    until = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if process.poll() is not None:
        if process.returncode:
            raise ValueError(f"a start after a kill failed ({target.root / 'log.txt'}): {target.last_words()}")
        return None
    row = {"aim": aim, "place": target.place(), "seconds": round(time.monotonic() - begun, 1)}
    row["victim"] = _end(process, list(VICTIMS)[number % len(VICTIMS)], rng)
    row["left"] = target.leftovers()
    return row


def _end(process: subprocess.Popen, victim: str, rng: random.Random) -> str:
    """Kill the victim, see the command end, and return who was killed."""
    children, workers = psutil.Process(process.pid).children(recursive=True), _workers(process)
    if victim == "child" and workers:
        begun = time.monotonic()
        _kill_one(rng.choice(workers))
        while process.poll() is None and time.monotonic() < begun + PATIENCE:
            if set(_workers(process)) - set(workers):  # the kernel of the next notebook: that one had done its work
                break
            time.sleep(0.1)
        else:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                raise ValueError(f"one of its processes was killed, and the command went on for {PATIENCE} s")
            return f"child (ended by itself after {time.monotonic() - begun:.1f} s)"
    os.killpg(process.pid, signal.SIGKILL)
    for child in children if victim == "all" else []:
        _kill_one(child)
    process.wait()
    return victim if victim == "all" else "command"


def _kill_one(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _workers(process: subprocess.Popen) -> list[psutil.Process]:
    """Its kernel at work, the oldest, or its processes of `accelerate launch`."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        kernels = sorted((c for c in children if "ipykernel_launcher" in _words(c)), key=psutil.Process.create_time)
        return kernels[:1] or [child for child in children if "mags_kit" in _words(child)]
    return []


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def table(result: dict) -> str:
    """The kills by place, and how the rounds ended."""
    lines = [f"{'place':<42}{'kills':>5}  who"]
    for place in result["seconds"]:
        rows = [row for row in result["kills"] if row["place"] == place]
        lines.append(f"{place:<42}{len(rows):>5}  {', '.join(row['victim'] for row in rows)}".rstrip())
    same = sum(done["same"] for done in result["rounds"])
    lines.append(f"{len(result['kills'])} kills; {same} of {len(result['rounds'])} runs ended as the undisturbed one")
    return "\n".join(lines)
