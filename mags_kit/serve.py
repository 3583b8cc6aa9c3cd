"""A page without Jupyter: a run's inspector and playground by Voilà, on this machine alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TextIO

import nbformat

from mags_kit.run import CHECKOUT, Run

LOCAL = "127.0.0.1"
# What a page may load: this server's own things alone, whatever a reply or a template asks for.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: data: blob:; "
    "frame-ancestors 'self'"
)
LARGEST = 100 * 2**20  # bytes of an uploaded image; a websocket breaks off at 10 MiB by default
CELLS = (
    """from mags_kit.viz.handling import Handling
from mags_kit.viz.inspector import Inspector
from mags_kit.run import reopen

run = reopen({name!r}, {root!r})""",
    "# Region inspector\n\n## Where the policy looked",
    "Inspector.of(run).widget",
    "## The glass in your own hand",
    "Handling.of(run).widget",
)


def notebook(run: Run):
    """What is served: the two widgets of a run, under headings."""
    make = {False: nbformat.v4.new_code_cell, True: nbformat.v4.new_markdown_cell}
    root = str(run.path.parent.absolute())
    texts = (text.replace("{name!r}", repr(run.path.name)).replace("{root!r}", repr(root)) for text in CELLS)
    return nbformat.v4.new_notebook(
        cells=[make[text.startswith("#")](text) for text in texts],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def serve(run: Run, port: int = 0) -> None:
    """Serve until Ctrl-C, and print the address once the page answers; by default on a port that is free."""
    port = port or _free_port()
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w+") as log:
        path = Path(folder, f"{run.path.name}.ipynb")
        nbformat.write(notebook(run), path)
        settings = {"headers": {"Content-Security-Policy": POLICY}, "websocket_max_message_size": LARGEST}
        Path(folder, "voila.json").write_text(json.dumps({"Voila": {"tornado_settings": settings}}))
        command = [sys.executable, "-m", "voila", str(path), "--no-browser", f"--Voila.ip={LOCAL}", f"--port={port}"]
        command += [f"--Voila.config_file_paths={folder}", "--Voila.log_level=ERROR", "--Voila.port_retries=0"]
        known = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that what is below ends Voilà, too
        # In this session Ctrl-C would reach Voilà's kernels, too; each that ends would tell of it at length.
        server = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": known}, start_new_session=True, stderr=log)
        try:
            _wait(server, f"http://{LOCAL}:{port}/voila/static/voila.js", log)
            print(
                f"http://{LOCAL}:{port}/ shows run “{run.path.name}”, on this machine alone; Ctrl-C stops it",
                flush=True,
            )
            server.wait()
        except KeyboardInterrupt:
            print("\nstopped", flush=True)
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind((LOCAL, 0))
        return asked.getsockname()[1]


def _wait(server: subprocess.Popen, url: str, log: TextIO) -> None:
    """Until a server answers, whatever it says; if it ends instead, a ValueError with the last it wrote."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    log.seek(0)
    said = log.read().strip().splitlines()[-1:] or ["it wrote nothing"]
    raise ValueError(f"Voilà ended with status {server.returncode} ({said[0]}); expected a free --port, and `make env`")
