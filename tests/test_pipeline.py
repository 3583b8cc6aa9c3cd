import json
import sys
from itertools import product

import nbformat
import pytest

from mags_kit import lock, pipeline, run as runs
from mags_kit.evaluation import claims
from mags_kit.report import page
from mags_kit.run import open_run

BOTH = ("smoke", "r", {}, ("01_a", "02_b"))


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Two small notebooks in place of the real ones: `01_a` writes a file, `02_b` runs the code it is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "PROJECT", tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(pipeline, "NOTEBOOKS", folder)
    monkeypatch.setattr(pipeline, "MAIN_NOTEBOOKS", ("01_a", "02_b"))
    monkeypatch.setattr(page, "write", lambda run, steps: run.path / "report.html")
    monkeypatch.setattr(claims, "compare", lambda run: claims.Comparison("it reproduces here"))

    def write(name, code):
        cell = nbformat.v4.new_code_cell('profile = name = settings = ""')
        cell.metadata["tags"] = ["parameters"]
        kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
        notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell(code)], metadata=kernel)
        nbformat.write(notebook, folder / f"{name}.ipynb")

    write("01_a", "open('log', 'a').write('a')")
    yield write
    lock.leave(tmp_path / "runs" / "r")


@pytest.mark.slow
def test_a_failure_is_kept_and_named_and_the_rest_goes_on_from_there(notebooks, tmp_path):
    notebooks("02_b", "1 / 0")
    with pytest.raises(SystemExit, match="02_b failed in cell 3: ZeroDivisionError: division by zero"):
        pipeline.reproduce(*BOTH)
    folder = tmp_path / "runs" / "r" / "notebooks"
    assert {p.name for p in folder.iterdir()} == {"01_a.ipynb", "failed_02_b.ipynb"}
    notebooks("02_b", "open('log', 'a').write('b' + profile + name)")
    assert pipeline.reproduce(*BOTH) == "runs/r/report.html\nit reproduces here"
    assert tmp_path.joinpath("log").read_text() == "absmoker"  # 01 was not done again
    assert {p.name for p in folder.iterdir()} == {"01_a.ipynb", "02_b.ipynb"}
    notebooks("02_b", "open('log', 'a').write('c')")
    pipeline.reproduce(*BOTH)
    assert tmp_path.joinpath("log").read_text() == "absmokerc"  # an edited notebook is executed again
    assert (tmp_path / "runs" / "r" / "old" / "1" / "notebooks" / "02_b.ipynb").exists()


@pytest.mark.slow
def test_a_kernel_that_dies_is_one_sentence(notebooks):
    said = "01_a: its kernel died; what it said last stands above. If it said nothing, it was killed, usually out of me"
    for code in ("os.kill(os.getpid(), 9)", "os.abort()", "os._exit(3)"):
        notebooks("01_a", f"import os; {code}")
        with pytest.raises(SystemExit, match=said):
            pipeline.reproduce("smoke", "r", {}, ("01_a",))


@pytest.mark.slow
def test_notebooks_run_in_this_python_whatever_kernels_jupyter_finds(notebooks, tmp_path, monkeypatch):
    notebooks("01_a", "import sys; open('log', 'a').write(sys.executable + chr(10))")
    kernel = {"display_name": "mine", "language": "python"}
    kernel |= {"argv": ["/gone/python", "-m", "ipykernel", "-f", "{connection_file}"]}
    specs = {
        "of a Python that is gone": json.dumps(kernel),
        "that ends at once": json.dumps(kernel | {"argv": ["false"]}),
        "without ipykernel": json.dumps(kernel | {"argv": [sys.executable, "-S", *kernel["argv"][1:]]}),
        "of another language": json.dumps(kernel | {"argv": ["R", "--slave"], "language": "R"}),
        "not JSON": "{",
    }
    for place, (name, text) in product(("JUPYTER_PATH", "JUPYTER_DATA_DIR"), specs.items()):
        spec = tmp_path / place / name / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(text)
        with monkeypatch.context() as patch:
            patch.setenv(place, str(spec.parents[2]))
            pipeline.reproduce("smoke", f"{place}-{name.replace(' ', '-')}", {}, ("01_a",))
    assert tmp_path.joinpath("log").read_text().split() == [sys.executable] * 10


def test_other_settings_do_not_enter_a_run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "PROJECT", tmp_path)
    open_run("smoke", "r")
    with pytest.raises(ValueError, match="choose another NAME="):
        pipeline.reproduce("smoke", "r", {"seed": 5})


def test_a_notebook_is_not_stale_for_what_it_made_itself(tmp_path):
    run = open_run("smoke", "r", root=tmp_path)
    inputs = {name: pipeline.notebook_step(run, name).inputs for name in pipeline.MAIN_NOTEBOOKS[:2]}
    assert not {run.samples("pool"), run.trajectories("pool")} & {*inputs["01_data_curation"]}
    assert {run.samples("curated"), run.samples("validation")} <= {*inputs["02_curriculum_rl"]}
