"""How the tests hold a bound on time: on the work itself, whatever else the process and the machine do."""

import gc
import time
from collections.abc import Callable


def fastest(call: Callable[[], object], times: int = 3) -> float:
    """Least seconds of this thread that a call takes, no garbage of other tests among them.

    By hand, since `timeit` compiles what it runs, and the fuzzer holds that a reply leads to no compiling.
    """
    took, collecting = [], gc.isenabled()
    gc.disable()
    try:
        for _ in range(times):
            start = time.thread_time()
            call()
            took.append(time.thread_time() - start)
    finally:
        if collecting:
            gc.enable()
    return min(took)
