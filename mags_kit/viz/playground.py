"""The playground: any image and question, regions drawn by hand, and what the policy makes of them.

The boxes are jupyter-bbox-widget's: drawn, moved and resized in the browser itself.
"""

import hashlib
import html
import io
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets
from jupyter_bbox_widget import BBoxWidget
from PIL import Image

from mags_kit.config import NETWORKS
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import answered, force, prompt_ids, suffix_ids
from mags_kit.records import Box, Region, Sample, Trajectory, read_samples, write_bytes
from mags_kit.run import NO_PHOTOS, Run
from mags_kit.viz import draw
from mags_kit.viz.inspector import NARROW, ROW, WIDE

MAGNIFIERS = (*NETWORKS, "bicubic", "none")
SCALES = {"half the side": 0.25, "as the run": 1.0, "twice the side": 4.0}  # -> of the run's pixels for a view
OWN = "playground"  # the id of a sample that belongs to no run
LONGEST = 2000  # letters of a question
CANVAS = 768  # pixels of the longer side of the image that is drawn on
SMALLEST = 3  # of these, a side of a box; a smaller one was a click
LISTED = 200  # of the run's samples, how many the list offers
LONG, SHORT = widgets.Layout(width="420px", max_width="calc(100% - 4px)"), widgets.Layout(width="auto")


class Playground:
    """Choose an image, ask, look; draw regions, look again. `widget` is what a notebook displays.

    Each method does what a button or field does; where it raises, the state stays as it was. The widget shows an error
    as one sentence (`error` keeps the exception). `adapter` is a PEFT folder, by default the run's best if there is
    one. The model is loaded when it is first needed.
    """

    def __init__(self, run: Run, samples: list[Sample] = (), adapter: str | Path | None = None, policy=None):
        self.run, self.policy, self.error = run, policy, None
        self.adapter = adapter if adapter is not None else (run.best if run.best.exists() else run.config.adapter)
        self.samples = {s.id: s for s in list(samples)[:LISTED]}
        self.sample: Sample | None = None  # image and question
        self.image: Image.Image | None = None
        self.regions: list[Region] = []  # of the last look, or drawn since
        self.trajectory: Trajectory | None = None  # of the last look
        self._first: list[int] | None = None  # what the policy wrote in round 1, as token ids
        self._busy, self._marked = False, {}  # whether fields are set by this class; place on the canvas -> region
        self._uploads = tempfile.TemporaryDirectory()
        self._make_widgets()
        self._say("open an image: a sample, a file, or a path")

    @classmethod
    def of(cls, run: Run) -> "Playground":
        """The playground of a run: its best adapter, and its test questions to begin with."""
        return cls(run, read_samples(run.samples("test")))

    def _make_widgets(self) -> None:
        names = [("choose", ""), *((f"{s.id}: {s.question}"[:80], s.id) for s in self.samples.values())]
        wide = widgets.Layout(flex="1 1 320px", width="auto", max_width="780px")

        def field(name: str, hint: str = "", layout=wide) -> widgets.Text:
            return widgets.Text(description=name, placeholder=hint, continuous_update=False, layout=layout)

        self.list = widgets.Dropdown(options=names, description="sample", layout=LONG)
        self.file = widgets.FileUpload(accept="image/*", description="or a file", layout=NARROW)
        self.path = field("or a path", layout=LONG)
        self.question = field("question", "what do you want to know?")
        self.typed = field("regions", "draw on the image, or type x0 y0 x1 y1; …")
        numbers = [str(i + 1) for i in range(self.run.config.max_regions)]
        self.boxes = BBoxWidget(hide_buttons=True, classes=numbers, colors=[*draw.PALETTE])
        self.boxes.add_class("mags-boxes")
        self.boxes.layout.display = "none"  # there is no image yet
        networks = [*dict.fromkeys((self.run.config.magnifier, *MAGNIFIERS))]
        self.network = widgets.Dropdown(options=networks, description="magnifier", layout=WIDE)
        self.scale = widgets.Dropdown(options=SCALES, value=1.0, description="view size", layout=NARROW)
        self.compare = widgets.Checkbox(description="all magnifiers", indent=False, layout=SHORT)
        self.first = widgets.Checkbox(description="first view, true size", indent=False, layout=SHORT)
        self.both = widgets.Button(description="look in two rounds", button_style="primary")
        self.again = widgets.Button(description="second look at my regions", layout=NARROW, button_style="info")
        self.clear = widgets.Button(description="no regions")
        self.status = widgets.HTML(layout=widgets.Layout(min_height="60px"))  # or the image would move while one draws
        self.panel = widgets.HTML(layout=widgets.Layout(flex="1 1 360px", width="auto"))
        rows = (
            [self.list, self.file, self.path], [self.question], [self.both, self.again, self.clear], [self.status],
            [self.typed], [self.network, self.scale, self.compare, self.first], [self.boxes, self.panel],
        )  # fmt: skip
        self.widget = widgets.VBox([widgets.HTML(draw.STYLE), *(widgets.Box(row, layout=ROW) for row in rows)])
        self.widget.add_class("mags-playground")

        def when(widget, act: Callable, name: str = "value") -> None:
            widget.observe(lambda event: None if self._busy else self._try(act, event["new"]), name)

        when(self.list, lambda name: name and self.take(name))
        when(self.path, lambda path: path and self.open(path))
        when(self.file, lambda files: files and self.upload(files[0]["name"], bytes(files[0]["content"])))
        when(self.question, lambda text: text and self.ask(text))
        when(self.typed, lambda text: text and self.type(text))
        when(self.boxes, self._drawn, "bboxes")
        for shown in (self.network, self.scale, self.compare, self.first):
            when(shown, lambda _: self._show())
        self.both.on_click(lambda _: self._try(self.look))
        self.again.on_click(lambda _: self._try(self.look_again))
        self.clear.on_click(lambda _: self._try(self.draw, []))

    def take(self, sample_id: str) -> None:
        """Take a sample of the run, with its question and its truth."""
        sample = self.samples[sample_id]
        self._begin(replace(sample, image=str(Path(self.run.data, sample.image).absolute())))

    def open(self, path: str | Path) -> None:
        """Take an image by its path, or by one relative to the run's data; the question stays."""
        inside = Path(self.run.data, Path(path).expanduser()).absolute()  # an absolute path stays as it is
        where = inside if inside.exists() else Path(path).absolute()
        self._begin(Sample(OWN, str(where), self.question.value, ""))

    def upload(self, name: str, content: bytes) -> None:
        """Take an image by the content of its file."""
        path = Path(self._uploads.name, hashlib.sha256(content).hexdigest()[:16] + Path(name).suffix)
        write_bytes(path, content)
        try:
            self.open(path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from None

    def _begin(self, sample: Sample) -> None:
        image, out = open_image(sample.image), io.BytesIO()
        self.sample, self.image, self.regions, self.trajectory, self._first = sample, image, [], None, None
        small = image.copy()
        small.thumbnail((CANVAS, CANVAS))
        small.save(out, "JPEG", quality=90)
        self._busy = True
        self.boxes.image_bytes, self.boxes.layout.display = out.getvalue(), ""
        self.question.value = sample.question
        self._busy = False
        said = f"an image of {image.width}×{image.height} pixels; draw regions on it, or let the policy look. "
        self._show(said + self.caution)

    @property
    def caution(self) -> str:
        """One sentence where the model was not trained on such images; else empty."""
        own = bool(self.sample) and self.sample.id == OWN
        return NO_PHOTOS if own and self.run.config.model == "embedded" else ""

    def ask(self, question: str) -> None:
        """Ask another question about the image; the regions stay."""
        question = question.strip()
        if not question:
            raise ValueError("the question is empty; expected one about the image")
        if len(question) > LONGEST:
            raise ValueError(f"the question has {len(question)} letters; expected at most {LONGEST}")
        self._need_image()
        if question != self.sample.question:
            self.sample = replace(self.sample, question=question, answer="", answers=(), boxes=())
            self.trajectory = self._first = None
        self._busy, self.question.value = True, question
        self._busy = False
        self._say("asked; now look")

    def _need_image(self) -> None:
        if not self.sample:
            raise ValueError("there is no image yet; open one first")

    def draw(self, boxes: list[Box]) -> None:
        """Take these regions, in pixels of the image, in place of those there are."""
        self._need_image()
        size, most = self.image.size, self.run.config.max_regions
        if len(boxes) > most:
            raise ValueError(f"{len(boxes)} regions; expected at most {most}, as many as the policy may ask for")
        regions = protocol.read_regions([list(box) for box in boxes], "pixels", size, size, most)
        for box, region in zip(boxes, regions, strict=True):
            if not region.usable:
                raise ValueError(f"region {tuple(box)} is {region.outcome}; expected x0 < x1 and y0 < y1 in pixels of "
                                 f"a {size[0]}x{size[1]} image, and none twice")  # fmt: skip
        self.regions = regions
        self._show(f"your regions: {len(boxes)}")

    def type(self, text: str) -> None:
        """Take regions as they are typed: four numbers each, parted by semicolons."""
        boxes = [tuple(int(float(v)) for v in re.findall(r"-?\d+(?:\.\d+)?", part)) for part in text.split(";")]
        for part, box in zip(text.split(";"), boxes, strict=True):
            if len(box) != 4:
                raise ValueError(f"region {part.strip()!r}; expected four numbers, x0 y0 x1 y1")
        self.draw(boxes)

    def look(self) -> Trajectory:
        """Both rounds, with the regions that the policy chooses."""
        self._first = None
        return self._look(None)

    def look_again(self) -> Trajectory:
        """Round 2 on the regions that are drawn; round 1 is as it was, up to its tool call, which names them."""
        if not self.regions:
            raise ValueError("no region is drawn; expected one at least, for the second round to look at")
        return self._look(self.regions)

    def _look(self, regions: list[Region] | None) -> Trajectory:
        self.ask(self.question.value)
        open_image(self.sample.image)  # it may be gone meanwhile
        begun, tokens, agent = time.perf_counter(), self.run.config.round_tokens, self.agent
        episode, policy = Episode(agent, self.sample), agent.policy
        prompt = prompt_ids(policy, episode.prompt())
        if self._first is None:
            self._say("round 1")
            [self._first] = policy.generate([prompt], [[episode.first_view]], tokens)
        if regions is None:
            first = self._first
            shown = answered(policy, episode, first)
        else:
            first = force(policy, episode, self._first, [region.box for region in regions])
            shown = episode.show(regions)
        replies = [first]
        if shown is not None:
            self._say("round 2")
            views = [part["image"] for part in shown] if isinstance(shown, list) else []
            asked = prompt + first + suffix_ids(policy, [shown])
            replies += policy.generate([asked], [[episode.first_view, *views]], tokens)
        texts, lengths = [*map(policy.text, replies)], [*map(len, replies)]
        self.trajectory = episode.trajectory(texts, lengths, f"playground, {self.network.value}")
        self.regions = [region for region in self.trajectory.regions if region.usable]
        self._show(f"looked in {time.perf_counter() - begun:.1f} s. {self.caution}")
        return self.trajectory

    @property
    def agent(self) -> Agent:
        """The policy, loaded at the first call, with the magnifier that is chosen."""
        if self.policy is None:
            self._say(f"loading {self.run.config.model}, once")
            self.policy = load_policy(self.run.config, self.adapter)
        agent = Agent.of(self.run, self.policy, self.network.value)
        return replace(agent, magnifier=self._magnifier(self.network.value))

    def _magnifier(self, network: str) -> Magnifier:
        config, factor = self.run.config, self.policy.factor
        pixels = max(factor**2, round(config.view_pixels * self.scale.value))
        return Magnifier(network, pixels, factor, config.margin, self.run.views)

    def views(self) -> list[dict[str, Image.Image]]:
        """For each region, name -> picture: as the image has it, and as the magnifier, or each of them, shows it."""
        shown, default = [], self.agent.magnifier
        networks = self.network.options if self.compare.value else (self.network.value,)
        for region in self.regions:
            views = {network: self._magnifier(network).view(self.image, region.box)[0] for network in networks}
            shown += [{"in the image": self.image.crop(default.crop_box(region.box, self.image.size))} | views]
        return shown

    def _scale(self) -> float:
        """Pixels of the image for each pixel of the canvas."""
        return max(1.0, max(self.image.size) / CANVAS)

    def _drawn(self, boxes: list[dict]) -> None:
        """The person drew, moved, resized or deleted a box. A box of no size is a click or the beginning of a drag,
        which any answer to it would end: only a hint is shown."""
        self._need_image()
        drawn = {}
        for box in boxes:
            x, y, width, height = place = tuple(box[name] for name in ("x", "y", "width", "height"))
            if min(abs(width), abs(height)) >= SMALLEST:
                corners = tuple(round(v * self._scale()) for v in (x, y, x + width, y + height))
                drawn[place] = self._marked.get(place, corners)
        if list(drawn) != list(self._marked):
            self.draw([*drawn.values()])
        elif len(drawn) < len(boxes):
            self._say("drag to the opposite corner of the region")

    def _mark(self) -> None:
        """Show the regions of the state as numbered boxes, and as text."""
        scale, self._busy, self._marked = self._scale(), True, {}
        for x0, y0, x1, y1 in (region.box for region in self.regions):
            self._marked[tuple(round(v / scale) for v in (x0, y0, x1 - x0, y1 - y0))] = (x0, y0, x1, y1)
        keys = "x", "y", "width", "height", "label"
        self.boxes.bboxes = [dict(zip(keys, (*at, str(i + 1)), strict=True)) for i, at in enumerate(self._marked)]
        self.typed.value = "; ".join(" ".join(map(str, region.box)) for region in self.regions)
        self._busy = False

    def _show(self, said: str = "") -> None:
        """Show the state as it is, and a sentence."""
        if not self.sample:
            return
        self._mark()
        blocks = [_region(number, views) for number, views in enumerate(self.views() if self.regions else [])]
        if self.trajectory:
            blocks += [draw.trajectory(self.trajectory, "", self.run.views, "the last look")]
        if self.first.value:
            view = self.agent.policy.first_view(self.image, self.run.config.first_view_pixels)
            title = f"what round 1 sees: {view.width}×{view.height} pixels"
            blocks += [f'<section><h4>{title}</h4><div class="true-size">{draw.img(view, title)}</div></section>']
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
            self.error = error
            text = (str(error).strip().splitlines() or ["no reason was given"])[0][:400]
            self.status.value = draw.error(text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}")
            if self.sample:
                self._mark()


def _region(number: int, views: dict[str, Image.Image]) -> str:
    """A region as the image has it, and magnified, next to each other."""
    figures = "".join(
        f"<figure>{draw.img(view, f'Region {number + 1}, {name}', 'sharp' * (name == 'in the image'))}"
        f"<figcaption>{html.escape(name)}, {view.width}×{view.height} px</figcaption></figure>"
        for name, view in views.items()
    )
    title = f'<h4 style="border-top:4px solid {draw.colour(number)}">region {number + 1}</h4>'
    return f'<section class="mags-views">{title}<div class="grid">{figures}</div></section>'
