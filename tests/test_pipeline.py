import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import nbformat
import papermill
import pytest
from jupyter_client.channels import HBChannel

from mags_kit import kernels, pipeline, run as runs, status
from mags_kit.kernels import Kernels
from mags_kit.report import page
from mags_kit.run import open_run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Two small notebooks in place of the real ones: `01_a` writes a file, `02_b` runs the code it is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kernels, "LOADED", ("json.tool",))  # what the real ones need takes seconds
    monkeypatch.setattr(runs, "PROJECT", tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(status, "NOTEBOOKS", folder)
    monkeypatch.setattr(pipeline, "STEPS", ("01_a", "02_b"))
    monkeypatch.setattr(page, "write", lambda run, steps: run.path / "report.html")

    def write(name, code):
        cell = nbformat.v4.new_code_cell('profile = name = settings = ""')
        cell.metadata["tags"] = ["parameters"]
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(code)], metadata=kernel)
        nbformat.write(notebook, folder / f"{name}.ipynb")

    write("01_a", "open('log', 'a').write('a')")
    return write


@pytest.mark.slow
def test_a_failure_is_kept_and_named_and_the_rest_goes_on_from_there(notebooks, tmp_path):
    notebooks("02_b", "1 / 0")
    with pytest.raises(SystemExit, match="02_b.ipynb failed in cell 3: ZeroDivisionError: division by zero"):
        pipeline.reproduce("smoke", "r", {}, ("01_a", "02_b"))
    folder = tmp_path / "runs" / "r" / "notebooks"
    assert {p.name for p in folder.iterdir()} == {"01_a.ipynb", "failed_02_b.ipynb"}
    notebooks("02_b", "open('log', 'a').write('b' + profile + name)")
    assert pipeline.reproduce("smoke", "r", {}, ("01_a", "02_b")) == Path("runs/r/report.html")
    assert tmp_path.joinpath("log").read_text() == "absmoker"  # 01 was not done again
    assert {p.name for p in folder.iterdir()} == {"01_a.ipynb", "02_b.ipynb"}


@pytest.mark.slow
def test_each_notebook_has_a_kernel_of_its_own_started_ahead_and_none_is_left(notebooks, tmp_path):
    tmp_path.joinpath("say.py").write_text(
        "import os, sys\nprint(os.getpid(), 'json.tool' in sys.modules, file=open('log', 'a'))"
    )
    notebooks("01_a", "kept = 1; exec(open('say.py').read())")
    notebooks("02_b", "assert 'kept' not in globals(); exec(open('say.py').read())")
    pipeline.reproduce("smoke", "r", {}, ("01_a", "02_b"))
    (first, warm), (second, ahead) = (line.split() for line in tmp_path.joinpath("log").read_text().splitlines())
    assert first != second and warm == ahead == "True"
    for process in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, HBChannel)]  # nobody speaks to them


@pytest.mark.slow
def test_a_kernel_that_died_before_its_turn_is_replaced(monkeypatch):
    monkeypatch.setattr(kernels, "LOADED", ())
    with closing(Kernels()) as two:
        two.take(another=True)
        dead = two.spare
        os.kill(dead.provisioner.pid, signal.SIGKILL)
        while dead.is_alive():
            time.sleep(0.05)
        two.give_back()
        assert two.take(another=False) is not dead and two.taken.is_alive()


@pytest.mark.slow
def test_changed_code_is_run_again_and_changed_text_is_not(notebooks, tmp_path, capfd):
    notebooks("02_b", "open('log', 'a').write('b')")
    both = "smoke", "r", {}, ("01_a", "02_b")
    pipeline.reproduce(*both)
    path = tmp_path / "notebooks" / "01_a.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("More words."))
    nbformat.write(notebook, path)
    pipeline.reproduce(*both)
    assert tmp_path.joinpath("log").read_text() == "ab"
    notebooks("02_b", "open('log', 'a').write('c')")
    pipeline.reproduce(*both)
    assert tmp_path.joinpath("log").read_text() == "abc"
    assert "02_b is made again (its code cells changed); what was there lies in runs/r/old/1" in capfd.readouterr().out
    assert (tmp_path / "runs" / "r" / "old" / "1" / "notebooks" / "02_b.ipynb").exists()


@pytest.mark.slow
def test_a_kernel_that_dies_is_one_sentence(notebooks):
    notebooks("01_a", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(SystemExit) as ended:
        pipeline.reproduce("smoke", "r", {}, ("01_a",))
    assert str(ended.value).strip().startswith("01_a.ipynb: its kernel was killed or died, often for want of memory")


@pytest.mark.slow
def test_a_kernel_that_dies_while_it_loads_is_the_same_sentence(notebooks, tmp_path, monkeypatch):
    tmp_path.joinpath("deadly.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(kernels, "LOADED", ("deadly",))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(SystemExit) as ended:
        pipeline.reproduce("smoke", "r", {}, ("01_a",))
    assert str(ended.value).strip().startswith("01_a.ipynb: its kernel was killed or died, often for want of memory")


@pytest.mark.slow
def test_a_kernel_may_take_longer_to_load_than_papermill_waits(notebooks, tmp_path, monkeypatch):
    """Papermill's own limit is a minute; what it is given here is the kit's."""
    asked, real = [], papermill.execute_notebook
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **o: asked.append(o) or real(*a, **o))
    pipeline.reproduce("smoke", "r", {}, ("01_a",))
    assert [options["start_timeout"] for options in asked] == [pipeline.LOADING] and pipeline.LOADING > 60


def test_a_second_start_in_a_folder_says_who_holds_it(tmp_path):
    code = "import sys, pathlib; from mags_kit import holder; holder.hold(pathlib.Path(sys.argv[1]), 'another'); "
    code += "print(flush=True); sys.stdin.read()"
    environ = os.environ | {"MAGS_RUNS": str(tmp_path)}
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    first.stdout.readline()
    command = [sys.executable, "-m", "mags_kit", "run", "--profile", "smoke", "--name", "r"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=ROOT, timeout=120)
    first.communicate()
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "r was taken by another at " in done.stderr and f"(process {first.pid} on host " in done.stderr
    assert not (tmp_path / "r" / "config.json").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--profile", "huge"], "mags_kit: PROFILE='huge' is unknown"),
        (["--set", "{sed: 1}"], "mags_kit: setting 'sed' is unknown; did you mean seed?"),
        (["--own", "gone.jsonl"], "mags_kit: DATA=gone.jsonl: no such file"),
        (["--profile", "paper"], "mags_kit: http://127.0.0.1:9 does not answer, and this run needs from it Qwen/"),
        (["--set", "{data: benchmarks}"], "mags_kit: http://127.0.0.1:9 does not answer, and this run needs from it "),
    ],
)
def test_a_wrong_command_is_one_sentence_and_makes_nothing(arguments, said):
    environ = {k: v for k, v in os.environ.items() if k != "OFFLINE"} | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "mags_kit", "run", "--name", "never-made", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
    assert done.returncode == 1 and done.stderr.strip().startswith(said)
    assert len(done.stderr.strip().splitlines()) == 1 and not (ROOT / "runs" / "never-made").exists()


def test_other_settings_do_not_enter_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "PROJECT", tmp_path)
    open_run("smoke", "r")
    with pytest.raises(ValueError, match="choose another NAME="):
        pipeline.reproduce("smoke", "r", {"seed": 5})
