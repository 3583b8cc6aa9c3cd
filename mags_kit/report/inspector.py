"""An ipywidgets inspector: browse trajectories one by one, filtered by what the second look did."""

from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt

from mags_kit.method.measures import BROKE, REPAIRED, change, right
from mags_kit.records import Trajectory
from mags_kit.report.figures import png

FILTERS: dict[str, Callable[[Trajectory], bool]] = {
    "all": lambda t: True,
    "right": lambda t: bool(right([t])[0]),
    "wrong": lambda t: not right([t])[0],
    "repaired": lambda t: change(t) == REPAIRED,
    "broken": lambda t: change(t) == BROKE,
}


class Inspector:
    """Show trajectories with previous, next and a filter. `draw` makes a matplotlib figure of a trajectory.

    `Inspector(...).widget` is what a notebook displays; `select`, `next` and `previous` drive it from Python.
    """

    def __init__(self, trajectories: list[Trajectory], draw: Callable):
        self.trajectories, self.draw, self.shown, self.at = trajectories, draw, list(trajectories), 0
        counts = {name: sum(map(test, trajectories)) for name, test in FILTERS.items()}
        options = [(f"{name} ({count})", name) for name, count in counts.items()]
        self.kinds = widgets.Dropdown(options=options, value="all", description="show")
        back = widgets.Button(description="previous", icon="arrow-left")
        on = widgets.Button(description="next", icon="arrow-right")
        self.label, self.picture = widgets.Label(), widgets.Image(format="png")
        self.kinds.observe(lambda event: self.select(event["new"]), "value")
        back.on_click(lambda _: self.previous())
        on.on_click(lambda _: self.next())
        self.widget = widgets.VBox([widgets.HBox([back, on, self.kinds, self.label]), self.picture])
        self._show()

    @property
    def current(self) -> Trajectory | None:
        return self.shown[self.at] if self.shown else None

    def select(self, name: str) -> None:
        """Keep the trajectories of one filter and show the first of them."""
        self.shown, self.at = [t for t in self.trajectories if FILTERS[name](t)], 0
        if self.kinds.value != name:
            self.kinds.value = name  # comes back here through `observe`
            return
        self._show()

    def next(self) -> None:
        self.move(1)

    def previous(self) -> None:
        self.move(-1)

    def move(self, by: int) -> None:
        """On by so many of those shown, around the end."""
        if self.shown:
            self.at = (self.at + by) % len(self.shown)
            self._show()

    def _show(self) -> None:
        if not self.shown:
            self.label.value, self.picture.value = "none of this kind", b""
            return
        self.label.value = f"{self.at + 1} of {len(self.shown)}: {self.current.sample.id}, {self.current.condition}"
        figure = self.draw(self.current)
        self.picture.value = png(figure)
        plt.close(figure)
