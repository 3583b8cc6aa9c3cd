"""What goes on while a policy looks, told in words, token by token."""

import contextlib
import sys
from collections.abc import Callable

Progress = Callable[[str], None]


def quietly(text: str) -> None:
    """Progress on one line of the terminal's other stream, if there is a terminal; no text clears the line."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="\r", file=sys.stderr, flush=True)


@contextlib.contextmanager
def told(model, name: str, most: int, progress: Progress):
    """While a model writes, tell of each token."""
    count = iter(range(most + 1))
    counted = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = counted.register_forward_hook(lambda *_: progress(f"{name}: token {next(count) + 1} of {most} at most"))
    try:
        yield
    finally:
        handle.remove()
