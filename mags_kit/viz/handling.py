"""The playground in a notebook or a page: widgets on a `Playground`, boxes drawn with the mouse or typed.

The boxes are jupyter-bbox-widget's: drawn, moved and resized in the browser itself, so that only the finished box
travels (30 ms here, where matplotlib's selector by ipympl took 200 and more), several at once, in any width of window.
"""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
from jupyter_bbox_widget import BBoxWidget

from mags_kit.records import Box, Sample, Trajectory, read_samples
from mags_kit.viz import figures, painting
from mags_kit.viz.inspector import NARROW, ROW, WIDE
from mags_kit.viz.playground import MAGNIFIERS, SCALES, Playground
from mags_kit.run import Run

CANVAS = 768  # pixels of the longer side of the image that is drawn on
SMALLEST = 3  # of these, a side of a box; what is smaller was a click
LISTED = 200  # of the run's samples, how many the list offers
LONG, SHORT = widgets.Layout(width="420px", max_width="calc(100% - 4px)"), widgets.Layout(width="auto")


class Handling:
    """`widget` is what a notebook displays; `playground` holds the state, and the methods here do what the buttons do.

    Whatever goes wrong is a sentence in the widget (`error` keeps the exception), and the state stays.
    """

    def __init__(self, playground: Playground, samples: list[Sample] = ()):
        self.playground, self.error, self._busy, self._last, self._marked = playground, None, False, 0.0, {}
        self.samples = {s.id: s for s in list(samples)[:LISTED]}
        names = [("choose", ""), *((f"{s.id}: {s.question}"[:80], s.id) for s in self.samples.values())]
        self.sample = widgets.Dropdown(options=names, description="sample", layout=LONG)
        self.file = widgets.FileUpload(accept="image/*", description="or a file", layout=NARROW)
        self.path = widgets.Text(description="or a path", continuous_update=False, layout=LONG)
        wide, asked = widgets.Layout(flex="1 1 320px", width="auto", max_width="780px"), "what do you want to know?"
        self.question = widgets.Text(description="question", placeholder=asked, continuous_update=False, layout=wide)
        numbers = [str(i + 1) for i in range(playground.run.config.max_regions)]
        self.boxes = BBoxWidget(hide_buttons=True, classes=numbers, colors=[*painting.PALETTE])
        self.boxes.add_class("mags-boxes")
        self.boxes.layout.display = "none"  # there is no image yet
        self.typed = widgets.Text(
            description="regions", placeholder="draw on the image, or type x0 y0 x1 y1; …", continuous_update=False,
            layout=wide,
        )  # fmt: skip
        self.network = widgets.Dropdown(
            options=[*dict.fromkeys((playground.network, *MAGNIFIERS))], description="magnifier", layout=WIDE
        )
        self.scale = widgets.Dropdown(options=SCALES, value=playground.scale, description="view size", layout=NARROW)
        self.compare = widgets.Checkbox(description="all magnifiers", indent=False, layout=SHORT)
        self.first = widgets.Checkbox(description="first view, true size", indent=False, layout=SHORT)
        self.both = widgets.Button(description="look in two rounds", button_style="primary")
        self.again = widgets.Button(description="second look at my regions", layout=NARROW, button_style="info")
        self.clear = widgets.Button(description="no regions")
        self.status = widgets.HTML(layout=widgets.Layout(min_height="60px"))  # or the image would move while one draws
        self.panel = widgets.HTML(layout=widgets.Layout(flex="1 1 360px", width="auto"))
        rows = (
            [self.sample, self.file, self.path], [self.question], [self.both, self.again, self.clear], [self.status],
            [self.typed], [self.network, self.scale, self.compare, self.first], [self.boxes, self.panel],
        )  # fmt: skip
        self.widget = widgets.VBox([widgets.HTML(painting.STYLE), *(widgets.Box(row, layout=ROW) for row in rows)])
        self.widget.add_class("mags-playground")
        self._listen()
        self._say("open an image: a sample, a file, or a path")

    @classmethod
    def of(cls, run: Run) -> "Handling":
        """On a run, with its best adapter and its test questions to begin with."""
        return cls(Playground(run), read_samples(run.samples("test")))

    def _listen(self) -> None:
        def when(widget, act, name="value"):
            widget.observe(lambda event: None if self._busy or not event["new"] else act(event["new"]), name)

        when(self.sample, self.take)
        when(self.path, self.open)
        when(self.file, lambda files: self.upload(files[0]["name"], bytes(files[0]["content"])))
        when(self.question, self.ask)
        when(self.typed, self.type)
        when(self.network, lambda network: self.switch(network=network))
        when(self.scale, lambda scale: self.switch(scale=scale))
        self.boxes.observe(lambda event: None if self._busy else self._drawn(event["new"]), "bboxes")
        for shown in (self.compare, self.first):
            shown.observe(lambda _: self._try(self._show), "value")
        self.both.on_click(lambda _: self.look())
        self.again.on_click(lambda _: self.look_again())
        self.clear.on_click(lambda _: self.draw([]))

    # what buttons and fields do

    def take(self, sample_id: str) -> None:
        self._open(lambda: self.playground.take(self.samples[sample_id]))

    def open(self, path: str) -> None:
        self._open(lambda: self.playground.open(path))

    def upload(self, name: str, content: bytes) -> None:
        self._open(lambda: self.playground.upload(name, content))

    def ask(self, question: str) -> None:
        self._try(lambda: self.playground.ask(question), "asked; now look")

    def draw(self, boxes: list[Box]) -> None:
        """Take these regions, in pixels of the image."""
        if not self._try(lambda: self.playground.draw(boxes), None, self._mark):
            return
        if boxes and not self.playground.policy:
            self._say("loading the model, once")  # a view's size depends on it
        self._try(self._show, f"regions of yours: {len(boxes)}")

    def type(self, text: str) -> None:
        """Take regions as they are typed: four numbers each, parted by semicolons."""
        numbers = [[int(float(v)) for v in re.findall(r"-?\d+(?:\.\d+)?", part)] for part in text.split(";")]
        wrong = [part for part, four in zip(text.split(";"), numbers, strict=True) if len(four) != 4]
        if wrong:
            self._refuse(ValueError(f"region {wrong[0].strip()!r}; expected four numbers, x0 y0 x1 y1"))
        else:
            self.draw([tuple(four) for four in numbers])

    def switch(self, **changes) -> None:
        self._try(lambda: self.playground.switch(**changes), "switched; these are its views", self._show)

    def look(self) -> Trajectory | None:
        return self._look(self.playground.look)

    def look_again(self) -> Trajectory | None:
        return self._look(self.playground.look_again)

    def _look(self, act: Callable) -> Trajectory | None:
        field = self.question.value
        begun = time.perf_counter()

        def both():
            self.playground.ask(field)
            act(self._tell)

        if self._try(both, ""):
            self._try(self._show, f"looked in {time.perf_counter() - begun:.1f} s. {self.playground.caution}")
        return self.playground.trajectory

    def _open(self, act: Callable) -> None:
        def shown():
            image = act()
            small = image.copy()
            small.thumbnail((CANVAS, CANVAS))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=90)
            self._busy = True
            self.boxes.image_bytes, self.boxes.layout.display = out.getvalue(), ""
            if self.playground.sample.question:
                self.question.value = self.playground.sample.question
            self._busy = False

        if self._try(shown):
            said = "an image of {}×{} pixels; draw regions on it, or let the policy look. ".format(*self._size)
            self._try(self._show, said + self.playground.caution)

    # between the state and the screen

    @property
    def _size(self) -> tuple[int, int]:
        return painting.image_of(self.playground.sample.image).size

    def _scale(self) -> float:
        return max(1.0, max(self._size) / CANVAS)

    def _drawn(self, boxes: list[dict]) -> None:
        """The person drew, moved, resized or deleted a box. One of no size is a drag that has just begun, or a click:
        it is told of, and left alone, since an answer to it would end the drag."""
        scale, drawn = self._scale() if self.playground.sample else 1.0, {}
        for box in boxes:
            x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
            if min(abs(width), abs(height)) >= SMALLEST:
                corners = tuple(round(v * scale) for v in (x, y, x + width, y + height))
                drawn[x, y, width, height] = self._marked.get((x, y, width, height), corners)
        if list(drawn) != list(self._marked):
            self.draw([*drawn.values()])
        elif len(drawn) < len(boxes):
            self._say("drag to the opposite corner; a region of no size is none")

    def _try(self, act: Callable, said: str | None = None, then: Callable | None = None) -> bool:
        """Act; what goes wrong is said in one sentence, and the screen shows the state as it is."""
        try:
            act()
            if then:
                then()
        except Exception as error:  # here is the edge: a traceback would help nobody who looks at a page
            self._refuse(error)
            return False
        self.error = None
        if said:
            self._say(said)
        return True

    def _refuse(self, error: Exception) -> None:
        self.error = error
        text = str(error).strip().splitlines()[0][:400] if str(error).strip() else "no reason was given"
        self.status.value = painting.sentence(
            text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
        )
        if self.playground.sample and Path(self.playground.sample.image).exists():
            self._mark()

    def _say(self, text: str) -> None:
        self.status.value = painting.page(f'<span role="status">{painting.escape(text)}</span>')

    def _tell(self, text: str) -> None:
        """Progress, a few times a second at most."""
        if time.monotonic() - self._last > 0.2 or "token" not in text:
            self._last = time.monotonic()
            self._say(text)

    def _mark(self) -> None:
        """Show the regions of the state as boxes, numbered, and as text."""
        scale, self._busy = self._scale(), True
        regions = self.playground.regions
        self._marked = {}  # place on the screen -> region
        for x0, y0, x1, y1 in (region.box for region in regions):
            place = (round(x0 / scale), round(y0 / scale), round((x1 - x0) / scale), round((y1 - y0) / scale))
            self._marked[place] = (x0, y0, x1, y1)
        self.boxes.bboxes = [
            dict(zip(("x", "y", "width", "height", "label"), (*place, str(i + 1)), strict=True))
            for i, place in enumerate(self._marked)
        ]
        self.typed.value = "; ".join(" ".join(map(str, region.box)) for region in regions)
        self._busy = False

    def _show(self) -> None:
        ground = self.playground
        if not ground.sample:
            return
        self._mark()
        blocks = []
        if ground.regions:
            names = dict.fromkeys((ground.network, *MAGNIFIERS[:1], "bicubic", "none"))
            blocks.append(painting.region_views(ground.views(*(names if self.compare.value else ()))))
        if ground.trajectory:
            blocks.append(painting.trajectory(ground.trajectory, "", ground.run.views, "the last look"))
        if self.first.value:
            blocks.append(painting.true_size(ground.first_view()))
        self.panel.value = painting.page(*blocks)

    def figure(self):
        """The last look as a matplotlib figure."""
        return figures.show_trajectory(self.playground.trajectory, "", self.playground.run.views)
