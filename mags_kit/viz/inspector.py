"""The inspector: a run's trajectories in a notebook, chosen, ordered, found, and shown beside each other."""

from functools import partial
from pathlib import Path

import ipywidgets as widgets

from mags_kit.records import Trajectory, read_trajectories, write_bytes
from mags_kit.viz import figures, painting
from mags_kit.viz.browser import ALL, ORDERS, Browser
from mags_kit.evaluation.evaluate import MAIN
from mags_kit.run import Run

ROW = widgets.Layout(flex_flow="row wrap", width="100%")
NARROW, WIDE = widgets.Layout(width="230px"), widgets.Layout(width="330px")


def stored(run: Run) -> dict[str, list[Trajectory]]:
    """The test questions' trajectories in two rounds with super-resolution, before and after RL as far as there are."""
    paths = {f"{checkpoint} RL": run.trajectories(checkpoint, MAIN) for checkpoint in ("before", "after")}
    return {name: read_trajectories(path) for name, path in paths.items() if path.exists()}


class Inspector:
    """`widget` is what a notebook displays. Its `browser` and the methods here do the same from Python.

    Trajectories lie by stage; `folder` is that of their images, `cache_dir` that of magnified views. What is shown is
    drawn when it is shown, as is `figure`, its static twin.
    """

    def __init__(self, stages: dict[str, list[Trajectory]], folder: str | Path, cache_dir=None):
        self.browser, self.folder, self.cache_dir = Browser(stages), Path(folder), cache_dir
        self._busy = False
        self.filters = {name: self._dropdown(name) for name in self.browser.filters}
        self.order = widgets.Dropdown(options=list(ORDERS), description="order", layout=WIDE)
        self.word = widgets.Text(
            description="find", placeholder="an id or a word, then Enter", continuous_update=False, layout=WIDE
        )
        self.back = widgets.Button(description="previous")
        self.on = widgets.Button(description="next", button_style="primary")
        self.number = widgets.BoundedIntText(
            1, min=1, max=1, description="number", continuous_update=True,
            tooltip="type a number to jump; arrow up and down for the next",
            layout=widgets.Layout(width="190px"),
        )  # fmt: skip
        self.slide = widgets.IntSlider(
            1, min=1, max=2, readout=False, tooltip="click or drag; then arrow left and right go on, Home and End too",
            layout=widgets.Layout(width="230px"),
        )  # fmt: skip
        self.both = widgets.Checkbox(
            value=len(stages) > 1, description="before and after, side by side", indent=False,
            layout=widgets.Layout(width="250px", display="" if len(stages) > 1 else "none"),
        )  # fmt: skip
        self.label, self.panel = widgets.HTML(), widgets.HTML(layout=widgets.Layout(width="auto"))
        steps = [self.back, self.on, self.slide, self.number, self.both, self.label]
        rows = [*self.filters.values(), self.order, self.word], steps
        self.widget = widgets.VBox([*(widgets.Box(row, layout=ROW) for row in rows), self.panel])
        self.widget.add_class("mags-inspector")
        self._listen()
        self._show()

    @classmethod
    def of(cls, run: Run) -> "Inspector":
        """That of a run's test questions."""
        return cls(stored(run), run.data, run.views)

    def _dropdown(self, name: str) -> widgets.Dropdown:
        options = [(ALL, ALL), *((f"{value} ({count})", value) for value, count in self.browser.values(name).items())]
        return widgets.Dropdown(options=options, value=self.browser.kept[name], description=name, layout=NARROW)

    def _listen(self) -> None:
        def when(widget, act):
            widget.observe(lambda event: None if self._busy else act(event["new"]), "value")

        for name, dropdown in self.filters.items():
            when(dropdown, partial(self._keep_one, name))
        when(self.order, self.sort)
        when(self.word, self.search)
        when(self.number, self.go)
        when(self.slide, self.go)
        when(self.both, lambda _: self._show())
        self.on.on_click(lambda _: self.next())
        self.back.on_click(lambda _: self.previous())

    def _keep_one(self, name: str, value: str) -> None:
        self.keep(**{name: value})

    @property
    def current(self) -> Trajectory | None:
        return self.browser.current

    def keep(self, **values: str) -> None:
        """Show those with these values, e.g. `keep(family="count", second_look="repaired")`; "all" lifts a filter."""
        self._act(self.browser.keep, **values)

    def sort(self, order: str) -> None:
        self._act(self.browser.sort, order)

    def search(self, word: str) -> None:
        self._act(self.browser.search, word)

    def next(self) -> None:
        self._act(self.browser.move, 1)

    def previous(self) -> None:
        self._act(self.browser.move, -1)

    def go(self, number: int) -> None:
        """To the one of that number among those shown, counted from 1."""
        self._act(self.browser.go, number)

    def find(self, sample_id: str) -> None:
        self._act(self.browser.find, sample_id)

    def _act(self, act, *values, **named) -> None:
        act(*values, **named)
        self._show()

    def seen(self) -> dict[str, Trajectory]:
        """What is shown now: the current trajectory by its stage, or the same sample at every stage."""
        if not self.current:
            return {}
        return self.browser.beside() if self.both.value else {self.browser.stage: self.current}

    def _show(self) -> None:
        browser, count = self.browser, len(self.browser.shown)
        self._busy = True  # what follows says what is so, and asks for nothing
        for name, dropdown in self.filters.items():
            dropdown.value = browser.kept[name]
        self.order.value = browser.order
        self.number.max, self.number.value = max(1, count), browser.at + 1 if count else 1
        self.slide.max, self.slide.value = max(2, count), self.number.value  # a slider needs two places
        self.slide.layout.visibility = "visible" if count > 1 else "hidden"
        self._busy = False
        who = f"{self.current.sample.id}, {browser.stage}" if count else "none is like that"
        self.label.value = painting.page(f"{browser.at + 1 if count else 0} of {count}: {painting.escape(who)}")
        try:
            self.panel.value = self._drawn()
        except ValueError as error:  # its image is gone, or broken
            self.panel.value = painting.sentence(str(error))

    def _drawn(self) -> str:
        blocks = [painting.trajectory(t, self.folder, self.cache_dir, name) for name, t in self.seen().items()]
        return painting.page(*blocks, question=self.current.sample.question) if blocks else ""

    def figure(self, count: int = 1):
        """The same as a matplotlib figure; `count` over 1: a strip of the current one and those after it."""
        if not self.current:
            raise ValueError("no trajectory is shown; expected one, to draw it: lift a filter")
        if count > 1:
            return figures.show_strip(self.browser.next(count), self.folder, self.cache_dir)
        return figures.show_beside(self.seen(), self.folder, self.cache_dir)

    def save(self, path: str | Path, count: int = 1) -> Path:
        """Write that figure; the name's ending, .png or .svg, says as what."""
        write_bytes(path, figures.content(self.figure(count), Path(path).suffix[1:]))
        return Path(path)
