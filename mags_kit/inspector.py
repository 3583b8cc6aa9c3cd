"""An ipywidgets inspector: browse trajectories one by one, filtered by what the second look did."""

from collections.abc import Callable

import ipywidgets as widgets

from mags_kit import evaluation
from mags_kit.records import Trajectory

FILTERS: dict[str, Callable[[Trajectory], bool]] = {
    "all": lambda t: True,
    "right": lambda t: bool(evaluation.right([t])[0]),
    "wrong": lambda t: not evaluation.right([t])[0],
    "repaired": lambda t: evaluation.change(t) == "repaired",
    "broken": lambda t: evaluation.change(t) == "broke",
}


class Inspector:
    """Show trajectories with previous, next and a filter. `draw` makes a matplotlib figure of a trajectory.

    `Inspector(...).widget` is what a notebook displays; `select`, `next` and `previous` drive it from Python.
    """

    def __init__(self, trajectories: list[Trajectory], draw: Callable):
        self.all, self.draw, self.shown, self.at = trajectories, draw, list(trajectories), 0
        counts = {name: sum(map(test, trajectories)) for name, test in FILTERS.items()}
        options = [(f"{name} ({count})", name) for name, count in counts.items()]
        self._filter = widgets.Dropdown(options=options, value="all", description="show")
        back, on = (
            widgets.Button(description="previous", icon="arrow-left"),
            widgets.Button(description="next", icon="arrow-right"),
        )
        self._label, self._picture = widgets.Label(), widgets.Image(format="png")
        self._filter.observe(lambda change: self.select(change["new"]), "value")
        back.on_click(lambda _: self.previous())
        on.on_click(lambda _: self.next())
        self.widget = widgets.VBox([widgets.HBox([back, on, self._filter, self._label]), self._picture])
        self._show()

    @property
    def current(self) -> Trajectory | None:
        return self.shown[self.at] if self.shown else None

    def select(self, name: str) -> None:
        """Keep the trajectories of one filter and show the first of them."""
        self.shown, self.at = [t for t in self.all if FILTERS[name](t)], 0
        if self._filter.value != name:
            self._filter.value = name  # comes back here through `observe`
            return
        self._show()

    def next(self) -> None:
        self._move(1)

    def previous(self) -> None:
        self._move(-1)

    def _move(self, by: int) -> None:
        if self.shown:
            self.at = (self.at + by) % len(self.shown)
            self._show()

    def _show(self) -> None:
        import io

        import matplotlib.pyplot as plt

        if not self.shown:
            self._label.value, self._picture.value = "none of this kind", b""
            return
        self._label.value = f"{self.at + 1} of {len(self.shown)}: {self.current.sample.id}, {self.current.condition}"
        figure, out = self.draw(self.current), io.BytesIO()
        figure.savefig(out, format="png", bbox_inches="tight")
        plt.close(figure)
        self._picture.value = out.getvalue()
