"""Pictures of when each part of the method pays."""

import matplotlib.pyplot as plt
from test_analysis import checkpoints

from mags_kit.evaluation import analysis
from mags_kit.viz import figures, worth


def test_gains_are_drawn():
    figure = worth.show_worth(analysis.component_gains(checkpoints()), "title")
    assert [axis.get_xticklabels()[0].get_text().split("\n")[0] for axis in figure.axes] == ["sharp", "small", "sparse"]
    plt.close(figure)


def test_the_magnifier_is_shown_on_each_quality():
    figure = worth.show_qualities(3)
    assert len(figure.axes) == 15 and len(figures.png(figure)) > 10_000
    plt.close(figure)
