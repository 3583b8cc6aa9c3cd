import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import ipywidgets
import pytest

from mags_kit import serve
from mags_kit.__main__ import main

ROOT = Path(__file__).parents[1]
TERMINATED = pytest.param(signal.SIGTERM, "", 0, marks=pytest.mark.long)


def test_what_is_served_are_the_two_widgets_of_the_run(smoke_run):
    """Also of a run that has no trajectory yet."""
    prepare, *shown = [cell.source for cell in serve.notebook(smoke_run).cells if cell.cell_type == "code"]
    names = {}
    exec(prepare, names)
    assert names["run"].config == smoke_run.config and names["run"].path.samefile(smoke_run.path)
    inspector, playground = (eval(source, names) for source in shown)
    assert isinstance(inspector, ipywidgets.VBox) and "mags-inspector" in inspector._dom_classes
    assert isinstance(playground, ipywidgets.VBox) and "mags-playground" in playground._dom_classes


def test_a_run_that_there_is_not_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGS_RUNS", str(tmp_path))
    with pytest.raises(SystemExit, match="mags_kit: NAME='never-made': expected the name of a folder under runs/"):
        main(["inspect", "--name", "never-made"])


def test_a_port_that_is_taken_is_one_sentence(smoke_run, monkeypatch):
    pytest.importorskip("voila")
    monkeypatch.setenv("MAGS_RUNS", str(smoke_run.path.parent))
    with socket.create_server((serve.LOCAL, 0)) as taken:
        with pytest.raises(
            SystemExit, match="Voilà ended with status 1 .*no available port could be found.*; expected a free --port"
        ):
            main(["inspect", "--name", "smoke", "--port", str(taken.getsockname()[1])])


@pytest.mark.slow
@pytest.mark.parametrize("stop, said, ended", [(signal.SIGINT, "\nstopped", 0), TERMINATED])
def test_a_page_is_served_on_this_machine_alone_and_ends_with_all_that_it_began(smoke_run, stop, said, ended):
    pytest.importorskip("voila")
    environment = os.environ | {"MAGS_RUNS": str(smoke_run.path.parent.absolute()), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mags_kit", "inspect", "--name", "smoke"]
    options = {"stdout": subprocess.PIPE, "text": True, "env": environment, "cwd": ROOT}
    heard = partial(signal.signal, stop, signal.SIG_DFL)  # tests that run in the background have Ctrl-C ignored
    with subprocess.Popen(command, preexec_fn=heard, **options) as server:
        try:
            told = server.stdout.readline()
            url, port = re.match(
                r"(http://127\.0\.0\.1:(\d+)/) shows run “smoke”, on this machine alone; ", told
            ).groups()
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.headers["Content-Security-Policy"] == serve.POLICY
            with pytest.raises(ConnectionRefusedError):  # 127.0.0.2 is this machine too, and not the address above
                socket.create_connection(("127.0.0.2", int(port)), timeout=5)
        finally:
            server.send_signal(stop)
            rest = server.stdout.read()
    assert rest.startswith(said) and server.returncode == ended
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((serve.LOCAL, int(port)), timeout=5)
