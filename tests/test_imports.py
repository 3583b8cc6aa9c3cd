"""What importing the kit takes."""

import subprocess
import sys
from pathlib import Path

import pytest

import mags_kit

UNIX_ONLY = ("resource", "fcntl", "pwd", "grp", "termios", "pty", "tty")


@pytest.mark.slow
def test_modules_import_without_what_windows_lacks():
    folder = Path(mags_kit.__file__).parent
    paths = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")]
    names = [".".join(path.parts) for path in paths if path.stem not in ("__init__", "__main__")]
    code = """
import importlib, sys
unix, names = sys.argv[1].split(","), sys.argv[2:]
for name in unix:
    sys.modules[name] = None  # its import is an ImportError
for name in names:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if error.name in unix:
            print(name, error.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(UNIX_ONLY), *sorted(names)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr[-2000:]
