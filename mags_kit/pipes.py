"""Where the reader of what a command prints has enough, as `head` has: it goes on in silence, to its own status."""

import os
import sys
from contextlib import contextmanager, redirect_stdout


class Unread:
    """A stream that swallows what is written once nobody reads it any more."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._swallow()
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._swallow()

    def _swallow(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # what is buffered, and all that comes, goes there
        os.close(nowhere)


@contextmanager
def quiet_when_unread():
    """While it lasts, and in the last flush, a closed pipe is no error."""
    with redirect_stdout(Unread(sys.stdout)) as stdout:
        try:
            yield
        finally:
            stdout.flush()
