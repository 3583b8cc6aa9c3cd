"""A run to look at, served by a real JupyterLab and a real Voilà, for the system's own Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VIZ = ROOT / "mags_kit" / "viz"
PICTURES = ROOT / "runs" / "browser"  # screenshots, kept to be looked at
HOSTILE = '<script>window.taken = 1</script><img src=x onerror="window.taken = 1"> $\\frac{1}{2}$'
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    if not CHROMIUM:
        pytest.skip("no Chromium; `apt-get install chromium`, or CHROMIUM=/path")
    return browser_type_launch_args | {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def seen_run(smoke_run, policy):
    """The smoke run with trajectories at two stages, one of which is hostile."""
    from mags_kit.records import read_samples, write_jsonl
    from mags_kit.evaluation.evaluate import MAIN, evaluate

    samples = read_samples(smoke_run.samples("test"))
    made = evaluate(smoke_run, policy, samples, "base", (MAIN,))[MAIN]
    bad = replace(made[1], replies=(HOSTILE, *made[1].replies[1:]), answer=HOSTILE)
    write_jsonl(smoke_run.trajectories("trained", MAIN), [made[0], bad, *made[2:]])
    return smoke_run


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def served(run, command: list[str], port: int, log: Path):
    """A server in a process of its own that shows a run, once it answers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "JUPYTER_CONFIG_DIR": str(log.parent)}
    environment |= {"MAGS_RUN": run.path.name, "MAGS_RUNS": str(run.path.parent.absolute())}
    with open(log, "w") as out:
        server = subprocess.Popen([sys.executable, *command], stdout=out, stderr=out, env=environment, cwd=log.parent)
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 2).close()
                break
            except OSError:
                time.sleep(0.3)
        yield
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def voila(seen_run, tmp_path_factory):
    """Its address: what `make inspect` serves."""
    folder, port = tmp_path_factory.mktemp("voila"), free_port()
    command = ["-m", "voila", str(VIZ / "inspect.ipynb"), f"--Voila.config_file_paths={VIZ}", f"--port={port}"]
    url = f"http://127.0.0.1:{port}/"
    for _ in served(seen_run, command, port, folder / "log"):
        yield url


@pytest.fixture(scope="session")
def lab(seen_run, tmp_path_factory):
    """The address of a notebook with the same cells in JupyterLab."""
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    shutil.copy(VIZ / "inspect.ipynb", folder)
    quiet = folder / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # a message would lie on the widgets
    command = ["-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.ip=127.0.0.1"]
    command += ["--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}"]
    url = f"http://127.0.0.1:{port}/"
    for _ in served(seen_run, command, port, folder / "log"):
        yield url + "lab/tree/inspect.ipynb?reset"
