"""One at a time in a run folder: who works there, and what a second one is told.

The lock is the operating system's (by filelock), so that it goes with a process that dies, however it dies; a file
beside it says who holds it. All processes of one `accelerate launch`, and the kernels that a command starts, are one
holder. Reading needs no lock.
"""

import atexit
import os
import socket
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mags_kit.records import read_json, write_json

INSIDE = "MAGS_HOLDER"  # the folder that this process's command holds, for the kernels that it starts
LEAVING = 15  # seconds that a kernel may take to notice that its command has died
_locks: dict[Path, FileLock] = {}


def hold(folder: Path, what: str) -> None:
    """Hold a run folder, made if need be, until this process ends or `leave`; ValueError says who holds it."""
    folder = folder.resolve()
    if folder / ".lock" in _locks or os.environ.get(INSIDE) == str(folder) or os.environ.get("RANK", "0") != "0":
        return
    _lock(folder / ".lock", 0, folder)
    note = {"host": socket.gethostname(), "pid": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    earlier = _noted(folder)
    if earlier and earlier["host"] != note["host"]:  # a lock may not reach over the network
        _unlock(folder / ".lock")
        file = folder / "holder.json"
        raise ValueError(f"{_said(folder, earlier)}, which is not seen from here; if it ended, delete {_short(file)}")
    if earlier and earlier["pid"] != note["pid"]:
        print(f"{_said(folder, earlier)}, and died: this takes over", flush=True)
        for part in [path for path in folder.rglob("*.part") if path.is_file()]:  # what it was writing
            part.unlink(missing_ok=True)
    write_json(folder / "holder.json", note | {"what": what})
    os.environ[INSIDE] = str(folder)
    atexit.register(leave, folder)


def make(folder: Path) -> None:
    """Hold a run folder for making something in it, in a command, in a kernel that one started, or by oneself."""
    folder = folder.resolve()
    hold(folder, "a notebook")
    if os.environ.get("RANK", "0") == "0":  # a kernel outlives a command that is killed, for about a second
        _lock(folder / ".making", LEAVING, folder)


def leave(folder: Path) -> None:
    """Let go of a folder that this process holds."""
    folder = folder.resolve()
    if folder / ".lock" in _locks:
        folder.joinpath("holder.json").unlink(missing_ok=True)
        if os.environ.get(INSIDE) == str(folder):
            del os.environ[INSIDE]
    for name in (".making", ".lock"):
        _unlock(folder / name)


def who(folder: Path) -> str:
    """One sentence on who holds a folder, or nothing."""
    note = _noted(folder)
    return _said(folder, note) if note else ""


def _lock(file: Path, seconds: float, folder: Path) -> None:
    if file in _locks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=seconds, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        holder = who(folder) or f"{_short(folder)} is held by another process"
        raise ValueError(f"{holder}; wait for it or end it, or choose another NAME=") from None
    _locks[file] = lock


def _unlock(file: Path) -> None:
    if file in _locks:
        _locks.pop(file).release()


def _noted(folder: Path) -> dict | None:
    try:
        return read_json(folder / "holder.json")
    except (FileNotFoundError, ValueError):
        return None


def _said(folder: Path, note: dict) -> str:
    return (
        f"{_short(folder)} was taken by {note['what']} at {note['since']} (process {note['pid']} on host "
        f"{note['host']})"
    )


def _short(path: Path) -> str:
    return os.path.relpath(path)
