"""What imports and memory cost: each in a process of its own, since it changes the process."""

import os
import platform
import subprocess
import sys

import pytest


def said(code: str, folder, *arguments: str) -> list[str]:
    """What a fresh Python prints, by words; modules in `folder` can be imported."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_who_loads_ahead_gives_way_and_is_itself_again(tmp_path):
    here = "os.getpriority(0, threading.get_native_id()) - os.getpriority(0, os.getpid())"  # which is the main thread's
    tmp_path.joinpath("probe.py").write_text(f"import gc, os, threading\nprint({here}, gc.isenabled())")
    code = f"import gc, os, threading; from mags_kit import compat; compat.load(('probe', 'json')); print({here}, "
    lower = min(10, 19 - os.nice(0))  # 19 is the lowest that there is
    assert said(f"{code}gc.isenabled(), gc.get_freeze_count() > 0)", tmp_path) == f"{lower} False 0 True True".split()


def test_what_can_not_be_loaded_is_said_and_collecting_goes_on(tmp_path):
    code = "import gc; from mags_kit import compat\ntry: compat.load(('gone',))\n"
    code += "except ModuleNotFoundError as error: print(error.name, gc.isenabled())"
    assert said(code, tmp_path) == ["gone", "True"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
def test_memory_that_is_given_back_is_kept(tmp_path):
    code = (
        "import resource, sys; from mags_kit import compat\n"
        "if sys.argv[1] == 'kept': compat.keep_memory()\n"
        "def work(): blocks = [bytearray(30 << 20) for _ in range(4)]\n"
        "work(); before = resource.getrusage(0).ru_minflt\n"
        "for _ in range(10): work()\n"
        "print(resource.getrusage(0).ru_minflt - before)"
    )
    kept, given = (int(said(code, tmp_path, how)[0]) for how in ("kept", "given"))
    assert kept < 1000 and 10 * kept < given  # pages of 4 kB, or of 2 MB where the system takes these by itself
