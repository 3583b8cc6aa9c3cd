"""Exclusive lock of a run folder: one command at a time writes there; reading needs no lock.

The lock is the operating system's (by filelock), so it goes with a process that dies, however it dies. All processes of
one `accelerate launch` and the kernels that a command starts count as that command.
"""

import os
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mags_kit.records import write_text

HELD = "MAGS_HELD"  # the folder that this process's command holds, for the kernels that it starts
ORPHAN = 15  # seconds that the kernel of a killed command may take to notice
_locks: dict[Path, FileLock] = {}


def hold(folder: Path, what: str) -> None:
    """Hold a run folder, made if need be, until this process ends or `leave`; ValueError says who holds it."""
    folder = folder.resolve()
    if {folder / ".lock", folder / ".kernel.lock"} & {*_locks} or os.environ.get("RANK", "0") != "0":
        return
    kernel = os.environ.get(HELD) == str(folder)
    path, note = folder / (".kernel.lock" if kernel else ".lock"), folder / "lock.txt"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=ORPHAN if kernel else 0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        holder = note.read_text() if note.exists() else "another process"
        hint = "wait for it or end it, or choose another NAME="
        raise ValueError(f"{os.path.relpath(folder)} is in use by {holder}; {hint}") from None
    _locks[path] = lock
    if not kernel:
        os.environ[HELD] = str(folder)
        write_text(note, f"{what} (process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S})")
        for part in filter(Path.is_file, folder.rglob("*.part")):  # what a killed process was writing
            part.unlink(missing_ok=True)


def leave(folder: Path) -> None:
    """Let go of a folder that this process holds."""
    folder = folder.resolve()
    for path in {folder / ".kernel.lock", folder / ".lock"} & {*_locks}:
        _locks.pop(path).release()
    if os.environ.get(HELD) == str(folder):
        del os.environ[HELD]
