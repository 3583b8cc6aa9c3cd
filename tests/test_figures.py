"""Text of models and of data in figures is drawn as it stands: never as a formula, and none stops the drawing."""

import matplotlib.pyplot as plt
import nbformat
import papermill
import pytest
from matplotlib.text import Text
from PIL import Image

from mags_kit.records import Region, Sample, Trajectory, View
from mags_kit.viz import charts, figures

BAD = "$\\frac{$ <b>$\\href{javascript:alert(1)}{x}$"  # as a formula it can't be parsed
SAMPLE = Sample("s$x$", "a.png", f"How many {BAD}?", BAD, BAD, boxes=((1, 1, 9, 9),), meta={"chosen": BAD})
LOOKED = Trajectory(
    SAMPLE, (40, 30), BAD, (BAD, BAD), (3, 3), (Region((2, 2, 12, 12), "ok"),), (View((0, 0, 16, 16), (32, 32)),),
    "bicubic", BAD, BAD,
)  # fmt: skip
METRICS = {"conditions": {"before": {BAD: {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 9}}}}
LOG = [{"reward": 0.5, "step": 1, "rewards/answer/mean": 0.5, "look/call_rate": 1.0}]
LOOKS = [{"step": 1, "accuracy": 0.5, "samples": 9}]


@pytest.mark.parametrize(
    "draw",
    [
        lambda folder: figures.show_samples([SAMPLE], folder),
        lambda folder: figures.show_trajectory(LOOKED, folder),
        lambda folder: charts.show_pool([SAMPLE], {SAMPLE.id: 0.5}, [SAMPLE]),
        lambda folder: charts.show_training(LOG, LOOKS, [1], BAD),
        lambda folder: charts.show_results(METRICS, BAD),
        lambda folder: charts.show_groups({BAD: [50.0, 60.0]}, "accuracy, %", BAD),
    ],
    ids=["samples", "trajectory", "pool", "training", "results", "groups"],
)
def test_no_text_is_read_as_a_formula(draw, tmp_path):
    Image.new("RGB", (40, 30), "white").save(tmp_path / "a.png")
    figure = draw(tmp_path)
    assert figures.png(figure).startswith(b"\x89PNG")
    said = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert said and not any(text.get_parse_math() for text in said)
    plt.close(figure)


@pytest.mark.slow
def test_every_figure_of_a_notebook_is_shown_in_it(tmp_path):
    """The first one in a kernel, too, which turns on that figures are shown at the end of their cell."""
    draw = "from mags_kit.report import charts; figure = charts.show_groups({'a': [50.0, 60.0]}, 'accuracy, %', 'b')"
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    cells = [nbformat.v4.new_code_cell(draw) for _ in range(3)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "a.ipynb")
    made = papermill.execute_notebook(str(tmp_path / "a.ipynb"), str(tmp_path / "b.ipynb"), progress_bar=False)
    assert [["image/png" in out.get("data", {}) for out in cell.outputs] for cell in made.cells] == [[True]] * 3


def test_a_notebooks_own_settings_stay():
    before = dict(plt.rcParams)
    plt.close(charts.show_groups({"a": [50.0, 60.0]}, "accuracy, %", "b"))
    assert dict(plt.rcParams) == before
