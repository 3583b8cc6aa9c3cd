"""Charts draw what they are given, read no text as a formula, and leave Matplotlib's settings alone."""

from itertools import product

import matplotlib
from matplotlib.text import Text
from test_records import make_trajectory

from mags_kit.viz import charts

BAD = "$\\frac{$ <b>$\\href{javascript:alert(1)}{x}$"  # as a formula it can't be parsed
SHARE = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 9}
DIFFERENCE = {"difference": 0.1, "low": -0.1, "high": 0.3, "n": 9, "tied": True}
CLASS = {"base": SHARE, "trained": SHARE, "difference": DIFFERENCE}
METRICS = {"conditions": {"base": {BAD: SHARE}, "trained": {BAD: SHARE}}}
LOG = [{"reward": 0.5, "step": 1, "rewards/answer/mean": 0.5, "look/call_rate": 1.0, "entropy": 0.1}]
VALIDATION = [{"step": 1, "accuracy": 0.5, "withheld": 0.3, "gain": 0.4, "harm": 0.2, "samples": 9}]
LEVELS = {"pass@k": [{"mean": 0.5, "low": 0.4, "high": 0.6}], "majority of k": [{"mean": 0.25, "low": 0.2, "high": 0.3}]}
PASSED = {"k": [1], "questions": 9, "base": LEVELS, "trained": LEVELS}
DRAWN = {
    "training": lambda: charts.show_training(LOG, VALIDATION, [1, 2], BAD),
    "training, not validated": lambda: charts.show_training(LOG, [], [1, 2], BAD),
    "results": lambda: charts.show_results(METRICS, BAD),
    "where": lambda: charts.show_where({"trained": {"where": {"family": {BAD: CLASS}}}}, "trained", BAD),
    "worth": lambda: charts.show_worth(dict.fromkeys(("second round", "RL"), {"dense": CLASS}), BAD),
    "pass@k": lambda: charts.show_pass_at_k(PASSED, BAD),
    "groups": lambda: charts.show_groups({BAD: [50.0, 60.0]}, "accuracy, %", BAD),
}


def test_no_text_is_read_as_a_formula_and_no_setting_of_matplotlib_changes():
    before = dict(matplotlib.rcParams)
    for name, make in DRAWN.items():
        chart = make()
        assert chart._repr_png_().startswith(b"\x89PNG"), name
        said = [text for text in chart.findobj(Text) if "$" in text.get_text()]
        assert said and not any(text.get_parse_math() for text in said), name
    assert dict(matplotlib.rcParams) == before


def test_charts_look_alike_whatever_a_matplotlibrc_says():
    theirs = [
        {"text.usetex": True}, {"text.usetex": True, "font.family": "serif", "axes.formatter.use_mathtext": True},
        {"figure.facecolor": "black", "text.color": "white", "axes.facecolor": "black"}, {"font.size": 30.0},
        {"savefig.transparent": True}, {"savefig.format": "pdf", "savefig.pad_inches": 2}, {"axes.grid": True},
        {"lines.linewidth": 9}, {"path.sketch": (1, 100, 2)},
    ]  # fmt: skip
    plain, wrong = {name: make()._repr_png_() for name, make in DRAWN.items()}, []
    for settings, (name, make) in product(theirs, DRAWN.items()):
        with matplotlib.rc_context(settings):
            try:
                wrong += [] if make()._repr_png_() == plain[name] else [(settings, name)]
            except (RuntimeError, ValueError) as error:  # without LaTeX
                wrong.append((settings, name, error))
    assert wrong == []


def test_charts_show_the_numbers():
    *_, validated, changed = charts.show_training(LOG, VALIDATION, [1, 2], "t").axes
    assert [line.get_ydata()[0] for axis in (validated, changed) for line in axis.lines[:2]] == [0.5, 0.3, 0.4, 0.2]
    [axis] = charts.show_pass_at_k(PASSED, "t").axes
    assert [line.get_ydata()[0] for line in axis.lines] == [50, 25] * 2 and axis.get_xscale() == "log"
    [axis] = charts.show_results(METRICS, "t").axes
    assert [line.get_xdata()[0] for line in axis.lines] == [50, 50]
    sizes, base, trained = charts.show_regions({"base": [make_trajectory()], "trained": []}).axes
    assert len(base.lines[0].get_xdata()) == 1 and not len(trained.lines[0].get_xdata())
    [axis] = charts.show_where({"base": {"where": {"family": {"a": CLASS}}}}, "base", "t").axes
    assert axis.lines[0].get_xdata() == [10] and axis.lines[0].get_markerfacecolor() == "white"
