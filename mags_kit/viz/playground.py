"""The playground: any image and question, regions drawn by hand in the browser, and what the policy makes of them."""

import html
import io
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anywidget
import ipywidgets as widgets
from jupyter_bbox_widget import BBoxWidget
from PIL import Image

from mags_kit.config import NETWORKS
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import first_replies, rollout
from mags_kit.records import Box, Sample, Trajectory, file_name, read_samples, write_bytes
from mags_kit.run import NO_PHOTOS, Run
from mags_kit.viz import draw
from mags_kit.viz.inspector import NARROW, ROW, WIDE, Inspector

OWN = "playground"  # the id of a sample that belongs to no run
CLICK = 1 / 256  # of the image's longer side: a new box with a smaller side was a click


class Zoom(anywidget.AnyWidget):
    """A slider that enlarges the playground's image, in the browser alone."""

    _esm = Path(__file__).with_name("zoom.js")


class Playground:
    """Choose an image, ask, look; draw regions, look again. `widget` is what a notebook displays.

    Each method does what a button or field does; where it raises, the state stays as it was. The widget shows an error
    as one sentence (`error` keeps the exception). The policy is the run's best, loaded when it is first needed.
    """

    def __init__(self, run: Run, samples: list[Sample] = (), policy=None, inspector: Inspector | None = None):
        self.run, self.policy, self.error, self.caution = run, policy, None, ""
        self.samples = {s.id: s for s in samples}
        self.inspector = inspector
        self.sample: Sample | None = None  # image and question
        self.image: Image.Image | None = None
        self.regions: list[Box] = []  # of the last look, or drawn since
        self.trajectory: Trajectory | None = None  # of the last look
        self._first: list[int] | None = None  # what the policy wrote in round 1, as token ids
        self._uploads = tempfile.TemporaryDirectory()
        self._make_widgets()
        self._say("open an image: a sample, a file, or a path")
        if inspector and inspector.current:
            self._try(self.follow)

    @classmethod
    def of(cls, run: Run, inspector: Inspector | None = None) -> "Playground":
        """The playground of a run: its best adapter, and its test questions to begin with; first the inspector's."""
        return cls(run, read_samples(run.samples("test")), inspector=inspector)

    def _make_widgets(self) -> None:
        offered = list(self.samples.values())[:200]  # more are slow to show
        names = [("choose", ""), *((f"{s.id}: {s.question}"[:80], s.id) for s in offered)]
        long = widgets.Layout(flex="1 1 320px", width="auto", max_width="780px")

        def field(name: str, hint: str = "") -> widgets.Text:
            return widgets.Text(description=name, placeholder=hint, continuous_update=False, layout=long)

        self.list = widgets.Dropdown(options=names, description="sample", layout=long)
        self.file = widgets.FileUpload(accept="image/*", description="or a file", layout=NARROW)
        self.path, self.question = field("or a path"), field("question", "what do you want to know?")
        self.typed = field("regions", "draw on the image, or type x0 y0 x1 y1; …")
        numbers = [str(i + 1) for i in range(self.run.config.max_regions)]
        self.boxes = BBoxWidget(hide_buttons=True, classes=numbers, colors=[*draw.PALETTE])
        self.boxes.add_class("mags-boxes")
        frame = widgets.Box([self.boxes], layout=widgets.Layout(display="none"))  # there is no image yet
        frame.add_class("mags-frame")
        self.frame, self.zoom = frame, Zoom()
        networks = [*dict.fromkeys((self.run.config.magnifier, *NETWORKS, "bicubic", "none"))]
        self.network = widgets.Dropdown(options=networks, description="magnifier", layout=WIDE)
        self.both = widgets.Button(description="look in two rounds", button_style="primary")
        self.again = widgets.Button(description="second look at my regions", layout=NARROW, button_style="info")
        self.taken = widgets.Button(description="the inspector's question", layout=NARROW)
        self.taken.layout.display = "" if self.inspector else "none"
        self.status = widgets.HTML(layout=widgets.Layout(min_height="60px"))  # or the image would move while one draws
        self.panel = widgets.HTML(layout=widgets.Layout(flex="1 1 360px", width="auto"))
        rows = [self.taken, self.list, self.file, self.path], [self.question], [self.both, self.again], [self.status]
        rows += [self.typed], [self.network, self.zoom], [self.frame, self.panel]
        self.widget = widgets.VBox([widgets.HTML(draw.STYLE), *(widgets.Box(row, layout=ROW) for row in rows)])
        self.widget.add_class("mags-playground")

        def when(widget, act: Callable, name: str = "value") -> None:
            widget.observe(lambda event: event["new"] in ("", ()) or self._try(act, event["new"]), name)

        when(self.list, self.take)
        when(self.path, self.open)
        when(self.file, lambda files: self.upload(files[0]["name"], bytes(files[0]["content"])))
        when(self.question, self.ask)
        when(self.typed, self.type)
        when(self.boxes, self._drawn, "bboxes")
        when(self.network, lambda _: self._show())
        self.taken.on_click(lambda _: self._try(self.follow))
        self.both.on_click(lambda _: self._try(self.look))
        self.again.on_click(lambda _: self._try(self.look_again))

    def follow(self) -> None:
        """Take what the inspector shows now."""
        if not self.inspector.current:
            raise ValueError("the inspector shows no trajectory; lift a filter there")
        self.take(self.inspector.current.sample.id)

    def take(self, sample_id: str) -> None:
        """Take a sample of the run, with its question and its truth."""
        sample = self.samples[sample_id]
        self._begin(replace(sample, image=str(Path(self.run.data, sample.image).absolute())))

    def open(self, path: str | Path) -> None:
        """Take an image by its path; the question stays."""
        self._begin(Sample(OWN, str(Path(path).expanduser().absolute()), self.question.value, ""))

    def upload(self, name: str, content: bytes) -> None:
        """Take an image by the content of its file."""
        path = Path(self._uploads.name, file_name(Path(name).name))
        write_bytes(path, content)
        self.open(path)

    def _begin(self, sample: Sample) -> None:
        image, out = open_image(sample.image), io.BytesIO()
        image.save(out, "JPEG", quality=90)
        self.sample, self.image, self.regions, self.trajectory, self._first = sample, image, [], None, None
        self.caution = NO_PHOTOS if sample.id == OWN and self.run.config.model == "embedded" else ""
        self.boxes.image_bytes, self.frame.layout.display = out.getvalue(), ""
        self.question.value = sample.question
        self._show(f"an image of {image.width}×{image.height} pixels; draw regions, or look. {self.caution}")

    def ask(self, question: str) -> None:
        """Ask another question about the image; the regions stay."""
        question = question.strip()
        if not question:
            raise ValueError("the question is empty; expected one about the image")
        self._need_image()
        if question != self.sample.question:
            self.sample = replace(self.sample, question=question, answer="", answers=(), boxes=())
            self.trajectory = self._first = None
        self.question.value = question
        self._say("asked; now look")

    def _need_image(self) -> None:
        if not self.sample:
            raise ValueError("there is no image yet; open one first")

    def draw(self, boxes: list[Box]) -> None:
        """Take these regions, in pixels of the image, in place of those there are."""
        self._need_image()
        size, most = self.image.size, self.run.config.max_regions
        regions = protocol.read_regions([list(box) for box in boxes], "pixels", size, size, most)
        for box, region in zip(boxes, regions, strict=True):
            if not region.usable:
                expected = f"at most {most} as x0 y0 x1 y1 with x0 < x1 and y0 < y1, and none twice"
                found = f"region {tuple(box)} is {region.said} in an image of {size[0]}x{size[1]} pixels"
                raise ValueError(f"{found}; expected {expected}")
        self.regions = [region.box for region in regions]
        self._show(f"your regions: {len(boxes)}")

    def type(self, text: str) -> None:
        """Take regions as they are typed: four numbers each, parted by semicolons."""
        boxes = [tuple(int(number) for number in re.findall(r"-?\d+", part)) for part in text.split(";")]
        if boxes != self.regions:
            self.draw(boxes)

    def look(self) -> Trajectory:
        """Both rounds, with the regions that the policy chooses."""
        self._first = None
        return self._look()

    def look_again(self) -> Trajectory:
        """Round 2 on the regions that are drawn. Round 1 is as it was up to its tool call, which asks for them, snapped
        outward to the grid on which the model writes boxes."""
        if not self.regions:
            raise ValueError("no region is drawn; expected one at least, for the second round to look at")
        return self._look(self.regions)

    def _look(self, own: list[Box] | None = None) -> Trajectory:
        self.ask(self.question.value)
        open_image(self.sample.image)  # it may be gone meanwhile
        begun, agent = time.perf_counter(), self._agent()
        self._say("looking")
        self._first = self._first or first_replies(agent, [self.sample], progress=False)[0]
        given = {"firsts": [self._first], "regions": own and [own], "condition": f"playground, {self.network.value}"}
        [t] = rollout(agent, [self.sample], progress=False, **given)
        self.trajectory, self.regions = t, own or [region.box for region in t.regions if region.usable]
        self._show(f"looked in {time.perf_counter() - begun:.1f} s. {self.caution}")
        return t

    def _agent(self) -> Agent:
        """The policy, loaded at the first call, with the magnifier that is chosen."""
        if self.policy is None:
            self._say(f"loading {self.run.config.model}, once")
            adapter = self.run.best if self.run.best.exists() else self.run.config.adapter
            self.policy = load_policy(self.run.config, adapter)
        return Agent.of(self.run, self.policy, self.network.value)

    def views(self) -> list[dict[str, Image.Image]]:
        """For each region, name -> picture: as the image has it, and as the magnifier shows it."""
        seen = [self._agent().magnifier.view(self.image, box) for box in self.regions]
        return [{"in the image": self.image.crop(of.box), self.network.value: view} for view, of in seen]

    def _drawn(self, marks: list[dict]) -> None:
        """The person drew, moved, resized or deleted a box. A box of no size is a click or the beginning of a drag,
        which any answer to it would end: only a hint is shown."""
        places = [[round(mark[name]) for name in ("x", "y", "width", "height")] for mark in marks]
        boxes, least = [(x, y, x + width, y + height) for x, y, width, height in places], CLICK * max(self.image.size)
        drawn = [b for b in boxes if b in self.regions or min(b[2] - b[0], b[3] - b[1]) >= least]
        if drawn != self.regions:
            self.draw(drawn)
        elif len(drawn) < len(boxes):
            self._say("drag to the opposite corner of the region")

    def _mark(self) -> None:
        """Show the regions of the state as numbered boxes, and as text."""
        self.boxes.bboxes = [
            {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "label": str(i)}
            for i, (x0, y0, x1, y1) in enumerate(self.regions, 1)
        ]
        self.typed.value = "; ".join(" ".join(map(str, box)) for box in self.regions)

    def _show(self, said: str = "") -> None:
        """Show the state as it is, and a sentence."""
        if not self.sample:
            return
        self._mark()
        shown = enumerate(self.views())
        blocks = [f'<section class="mags-views">{draw.views(number, views)}</section>' for number, views in shown]
        if self.trajectory:
            blocks += [draw.trajectory(self.trajectory, "", self.run.views, "the last look")]
        self.panel.value = draw.page(*blocks)
        self._say(said)

    def _say(self, text: str) -> None:
        self.status.value = draw.page(f'<span role="status">{html.escape(text)}</span>')

    def _try(self, act: Callable, *values) -> None:
        """Act for the widget: an error is shown as one sentence, and the fields show the state as it is."""
        self.error = None
        try:
            act(*values)
        except Exception as error:  # a traceback would not help a person who looks at a page
            if self.sample:
                self._mark()
            self.error = error
            text = (str(error).strip().splitlines() or ["no reason was given"])[0][:400]
            self.status.value = draw.error(text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}")
