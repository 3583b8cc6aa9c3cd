"""The inspector: a run's trajectories in a notebook, filtered, sorted, searched, and shown side by side."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
from PIL import Image

from mags_kit.evaluation.conditions import MAIN
from mags_kit.method.metrics import change, grounding
from mags_kit.method.rewards import answer
from mags_kit.records import Trajectory, area, read_trajectories
from mags_kit.run import Run
from mags_kit.viz import draw

ALL = "all"
ROW = widgets.Layout(flex_flow="row wrap", width="100%")
NARROW, WIDE = widgets.Layout(width="230px"), widgets.Layout(width="330px")

# name of a filter -> the values under it of a trajectory of a checkpoint
FILTERS: dict[str, Callable[[str, Trajectory], set[str]]] = {
    "family": lambda _, t: {t.sample.family},
    "answer": lambda _, t: {"right" if answer(t) else "wrong"},
    "second look": lambda _, t: {change(t)},
    "verdict": lambda _, t: {t.verdict or "none"},
    "regions": lambda _, t: {str(r.outcome) for r in t.regions} or {"none"},
    "quality": lambda _, t: {str(t.sample.meta.get("quality", "not stated"))},
    "checkpoint": lambda checkpoint, _: {checkpoint},
}
# name of an order -> what it sorts by
ORDERS: dict[str, Callable[[Trajectory], float | str]] = {
    "as stored": lambda t: 0,
    "reward, highest first": lambda t: -t.rewards.get("total", 0.0),
    "reward, lowest first": lambda t: t.rewards.get("total", 0.0),
    "smallest regions first": lambda t: sum(area(r.box) for r in t.regions if r.usable) or math.inf,
    "target best covered first": lambda t: -grounding(t)["coverage"] if t.sample.boxes else 0.0,
    "longest replies first": lambda t: -sum(map(len, t.replies)),
}


class Inspector:
    """`widget` is what a notebook displays, `sheet` its static twin.

    From Python, set the values of its parts: `filters["family"].value = "count"`, `order.value = "as stored"`,
    `word.value = "disc"`, `number.value = 3`. `checkpoints` maps names to trajectories; `folder` is that of their
    images, `cache_dir` that of magnified views.
    """

    def __init__(self, checkpoints: dict[str, list[Trajectory]], folder: str | Path, cache_dir=None):
        self.folder, self.cache_dir = Path(folder), cache_dir
        self.checkpoints = {name: {t.sample.id: t for t in each} for name, each in checkpoints.items() if each}
        self.entries = [(name, t) for name, each in checkpoints.items() for t in each]
        self.shown: list[tuple[str, Trajectory]] = []  # those of `entries` that are chosen, in order
        self.filters = {name: self._dropdown(name) for name in FILTERS}
        self.order = widgets.Dropdown(options=list(ORDERS), description="order", layout=WIDE)
        self.word = widgets.Text(description="find", placeholder="id or word", continuous_update=False, layout=WIDE)
        self.back = widgets.Button(description="previous")
        self.on = widgets.Button(description="next", button_style="primary")
        self.number = widgets.IntSlider(1, min=1, max=2, layout=widgets.Layout(width="260px"))
        self.both = widgets.Checkbox(True, description="checkpoints side by side", indent=False, layout=NARROW)
        self.label, self.panel = widgets.HTML(), widgets.HTML(layout=widgets.Layout(width="auto"))
        rows = [*self.filters.values(), self.order, self.word], [self.back, self.on, self.number, self.both, self.label]
        self.widget = widgets.VBox([*(widgets.Box(row, layout=ROW) for row in rows), self.panel])
        self.widget.add_class("mags-inspector")
        for chooser in rows[0]:
            chooser.observe(lambda _: self._choose(), "value")
        for shower in (self.number, self.both):
            shower.observe(lambda _: self._show(), "value")
        self.on.on_click(lambda _: self.next())
        self.back.on_click(lambda _: self.next(-1))
        self._choose()

    @classmethod
    def of(cls, run: Run) -> "Inspector":
        """The inspector of a run's test questions in two rounds with super-resolution."""
        paths = {name: run.trajectories(name, MAIN) for name in ("base", "trained")}
        stored = {name: read_trajectories(path) for name, path in paths.items() if path.exists()}
        return cls(stored, run.data, run.views)

    def _dropdown(self, name: str) -> widgets.Dropdown:
        """A filter with how many trajectories each value has; hidden where all have the same."""
        counts = Counter(value for entry in self.entries for value in FILTERS[name](*entry))
        options = [(ALL, ALL), *((f"{value} ({count})", value) for value, count in sorted(counts.items()))]
        start = [ALL, *self.checkpoints][-1] if name == "checkpoint" else ALL
        layout = widgets.Layout(width="230px", display="" if len(counts) > 1 else "none")
        return widgets.Dropdown(options=options, value=start, description=name, layout=layout)

    def _choose(self) -> None:
        wanted, word = {name: f.value for name, f in self.filters.items()}, self.word.value.strip().casefold()
        kept = [
            entry for entry in self.entries if word in _text(entry[1])
            and all(value == ALL or value in FILTERS[name](*entry) for name, value in wanted.items())
        ]  # fmt: skip
        self.shown = sorted(kept, key=lambda entry: ORDERS[self.order.value](entry[1]))
        self.number.value = 1
        self.number.max = max(2, len(kept))  # a slider needs two places
        self.number.layout.visibility = "visible" if len(kept) > 1 else "hidden"
        self._show()

    @property
    def current(self) -> Trajectory | None:
        return self.shown[self.number.value - 1][1] if self.shown else None

    def next(self, by: int = 1) -> None:
        if self.shown:
            self.number.value = (self.number.value - 1 + by) % len(self.shown) + 1

    def find(self, sample_id: str) -> None:
        """To the first one shown of that sample; ValueError where there is none."""
        self.number.value = [t.sample.id for t in self.listed()].index(sample_id) + 1

    def listed(self) -> list[Trajectory]:
        """All that are shown, in order."""
        return [t for _, t in self.shown]

    def seen(self) -> dict[str, Trajectory]:
        """What is shown now, by checkpoint: the current trajectory, or its sample at every checkpoint that has it."""
        if not self.shown:
            return {}
        checkpoint, t = self.shown[self.number.value - 1]
        found = {name: each.get(t.sample.id) for name, each in self.checkpoints.items() if self.both.value}
        return {name: other for name, other in found.items() if other} | {checkpoint: t}

    def _show(self) -> None:
        number, who = self.number.value, "no match"
        if self.shown:
            who = f"{number} of {len(self.shown)}: {self.current.sample.id}, {self.shown[number - 1][0]}"
        self.label.value = draw.page(draw.html.escape(who))
        try:
            blocks = [draw.trajectory(t, self.folder, self.cache_dir, name) for name, t in self.seen().items()]
            self.panel.value = draw.page(*blocks, question=self.current.sample.question) if blocks else ""
        except ValueError as error:  # the image is gone, or broken
            self.panel.value = draw.error(str(error))

    def sheet(self) -> Image.Image:
        """What is shown, as one static picture."""
        if not self.shown:
            raise ValueError("no trajectory is shown; expected one, to draw it: lift a filter")
        return draw.sheet(self.seen(), self.folder, self.cache_dir)


def _text(t: Trajectory) -> str:
    return "\n".join([t.sample.id, t.sample.question, *t.replies, t.answer or "", t.sample.answer]).casefold()
