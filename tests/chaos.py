"""Kill a small run at random moments, start it again until it ends, and compare it with a run that was left alone.

`make chaos` calls this. Three kinds of victims take turns: the command, its kernel or one of its processes, and all.
"""

import argparse
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
from pathlib import Path

import psutil

KIT = Path(__file__).parents[1]
NOTEBOOKS = {"stage_steps": [2, 3]}  # so that a stage is resumed in its middle, too
SHORT = {"pool": 6, "curated": 3, "validation": 3, "test": 3, "stage_steps": [1, 2]}
COMPARED = (
    "metrics.json", "data/*.jsonl", "trajectories/*.jsonl", "training/best/adapter_model.safetensors",
    "training/*/looks.jsonl", "pass_at_k/*.jsonl",
)  # fmt: skip
VICTIMS = ("command", "child", "all")
PATIENCE = 120  # seconds in which a command has to end after one of its processes was killed


def start(root: Path, short: bool, processes: int) -> subprocess.Popen:
    """The run in `root`, with notebooks or, if `short`, by its parts alone; its output goes to `root/log.txt`."""
    launch = [sys.executable]
    if processes > 1:
        config = KIT / "mags_kit" / "launch" / "ddp.yaml"
        launch += ["-m", "accelerate.commands.launch", "--config_file", str(config), "--main_process_port", "0"]
        launch += ["--num_processes", str(processes)]
    parts = ["curate", "train", "evaluate"] if short else ["run"]
    options = ["--profile", "smoke", "--name", "run", "--set", json.dumps(SHORT if short else NOTEBOOKS)]
    environ = os.environ | {"MAGS_RUNS": str(root), "OMP_NUM_THREADS": "1"}
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "log.txt", "ab") as log:
        command = [*launch, "-m", "mags_kit", *parts, *options]
        return subprocess.Popen(command, env=environ, cwd=KIT, stdout=log, stderr=log, start_new_session=True)


def finish(root: Path, *how) -> float:
    """Run to the end; the seconds that it took."""
    begun, code = time.monotonic(), start(root, *how).wait()
    if code:
        raise SystemExit(f"{root / 'log.txt'}: the run failed: {(root / 'log.txt').read_text().splitlines()[-1]}")
    return time.monotonic() - begun


def made(root: Path) -> dict[str, str]:
    """File -> sha256 of what is compared."""
    files = sorted(path for pattern in COMPARED for path in (root / "run").glob(pattern))
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill(process: subprocess.Popen, victim: str, rng: random.Random) -> None:
    """Kill the command, one of its children (then it must end by itself), or all."""
    children = psutil.Process(process.pid).children(recursive=True)
    if victim == "child" and children:
        _kill(rng.choice(children))
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in children if victim == "all" else []:
        _kill(child)
    process.wait()


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def chaos(folder: Path, kills: int, short: bool = False, processes: int = 1, seed: int = 0) -> list[str]:
    """Kill a run `kills` times at random moments; the files that differ from the undisturbed run's, none if all is well."""
    rng, how = random.Random(seed), (short or processes > 1, processes)
    shutil.rmtree(folder, ignore_errors=True)
    seconds = finish(folder / "undisturbed", *how)
    print(f"the undisturbed run took {seconds:.0f} s", flush=True)
    done, killed, wanted = 0, folder / "killed", made(folder / "undisturbed")
    while True:
        process, until = start(killed, *how), time.monotonic() + rng.uniform(2, max(8, seconds / 3))
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is None and done < kills:
            victim = VICTIMS[done % len(VICTIMS)]
            kill(process, victim, rng)
            done += 1
            print(f"kill {done} of {kills}: {victim}; files so far: {len(made(killed))}", flush=True)
            continue
        process.wait()
        finish(killed, *how)
        found = made(killed)
        differ = sorted(name for name in {**found, **wanted} if found.get(name) != wanted.get(name))
        print(f"the run ended: {'identical' if not differ else 'different: ' + ', '.join(differ)}", flush=True)
        if differ or done >= kills:
            return differ
        shutil.rmtree(killed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--short", action="store_true", help="without notebooks")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    sys.exit(bool(chaos(KIT / "runs" / "chaos", options.kills, options.short, options.processes)))
