"""The glass in a person's own hand: any image, any question, regions drawn by hand, and what the policy makes of it.

No widget here (`handling` has them); every method leaves the state as it was where it raises.
"""

import hashlib
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from mags_kit.config import NETWORKS
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import answered, force, prompt_ids, suffix_ids
from mags_kit.records import Box, Region, Sample, Trajectory, write_bytes
from mags_kit.viz.progress import Progress, told
from mags_kit.run import NO_PHOTOS, Run

MAGNIFIERS = (*NETWORKS, "bicubic", "none")
SCALES = {"half the side": 0.25, "as the run": 1.0, "twice the side": 4.0}  # -> of the run's pixels for a view
OWN = "playground"  # the id of a sample that is no run's
LONGEST = 2000  # letters of a question
PIXELS = 64e6  # of an image: what is larger takes long, and memory that other things need


@dataclass(frozen=True)
class Round1:
    """What round 1 left, for a second round on other regions: of which image and question, prompt and reply."""

    sample: Sample
    prompt: list[int]
    reply: list[int]


class Playground:
    """Open an image, ask, look; draw regions, look again; switch the magnifier. Every step is a method.

    `adapter` is a PEFT folder; by default the run's best, if there is one. The model is loaded at the first look.
    """

    def __init__(self, run: Run, adapter: str | Path | None = None, policy=None):
        self.run, self.policy = run, policy
        self.adapter = adapter if adapter is not None else (run.best if run.best.exists() else run.config.adapter)
        self.sample: Sample | None = None  # image and question
        self.regions: list[Region] = []  # those of the last look, or those drawn since
        self.trajectory: Trajectory | None = None  # of the last look
        self.network, self.scale = run.config.magnifier, 1.0
        self._round1: Round1 | None = None
        self._uploads = tempfile.TemporaryDirectory()

    # what is looked at

    def open(self, path: str | Path, question: str | None = None) -> Image.Image:
        """Take an image by its path, or by one relative to the run's data; the question stays unless given."""
        where = Path(self.run.data, Path(path).expanduser()).absolute()  # an absolute path stays as it is
        image = _opened(where if where.exists() else Path(path).absolute(), str(path))
        asked = self.sample.question if question is None and self.sample else question or ""
        self._begin(Sample(OWN, image.filename, asked, ""))
        return image.pixels

    def upload(self, name: str, content: bytes) -> Image.Image:
        """Take an image by the content of its file."""
        stem = hashlib.sha256(content).hexdigest()[:16]
        path = Path(self._uploads.name, f"{stem}{Path(name).suffix}")
        write_bytes(path, content)
        try:
            return self.open(path)
        except ValueError as error:
            path.unlink()
            raise ValueError(str(error).replace(str(path), name)) from None

    def take(self, sample: Sample) -> Image.Image:
        """Take a sample of the run, with its question and its truth."""
        image = _opened(Path(self.run.data, sample.image).absolute(), sample.image)
        self._begin(replace(sample, image=image.filename))
        return image.pixels

    def ask(self, question: str) -> None:
        question = question.strip()
        if not question:
            raise ValueError("the question is empty; expected one about the image")
        if len(question) > LONGEST:
            raise ValueError(f"the question has {len(question)} letters; expected at most {LONGEST}")
        if not self.sample:
            raise ValueError("there is no image yet; open one first")
        if question != self.sample.question:
            self._begin(replace(self.sample, question=question, answer="", boxes=()), self.regions)

    def _begin(self, sample: Sample, regions: list[Region] = ()) -> None:
        self.sample, self.regions, self.trajectory, self._round1 = sample, list(regions), None, None

    @property
    def caution(self) -> str:
        """One sentence where the model knows nothing of what it is shown; else nothing."""
        own = bool(self.sample) and self.sample.id == OWN
        return NO_PHOTOS if own and self.run.config.model == "embedded" else ""

    # how it is looked at

    def switch(self, network: str = "", scale: float = 0.0) -> None:
        """Take another magnifier, or other views: `scale` times the pixels that the run gives to each."""
        if scale < 0 or scale > 16:
            raise ValueError(f"scale {scale}; expected more than 0, and 16 at most")
        config = self.run.config
        Magnifier(network or self.network, config.view_pixels, 1)  # refuses one that there is not
        self.network, self.scale = network or self.network, scale or self.scale

    @property
    def agent(self) -> Agent:
        """The policy, loaded at the first call, with the magnifier that is switched on."""
        if self.policy is None:
            self.policy = load_policy(self.run.config, self.adapter)
        agent = Agent.of(self.run, self.policy, self.network)
        pixels = max(agent.policy.factor**2, round(self.run.config.view_pixels * self.scale))
        magnifier = Magnifier(self.network, pixels, self.policy.factor, self.run.config.margin, self.run.views)
        return replace(agent, magnifier=magnifier)

    def draw(self, boxes: list[Box]) -> list[Region]:
        """Take these regions, in pixels of the image, in place of those there are."""
        if not self.sample:
            raise ValueError("there is no image yet; open one first")
        size, most = self._image().size, self.run.config.max_regions
        if len(boxes) > most:
            raise ValueError(f"{len(boxes)} regions; expected at most {most}, as many as the policy may ask for")
        regions = protocol.read_regions([list(box) for box in boxes], "pixels", size, size, most)
        for box, region in zip(boxes, regions, strict=True):
            if not region.usable:
                raise ValueError(f"region {tuple(box)} is {region.outcome}; expected x0 < x1 and y0 < y1 in pixels of "
                                 f"a {size[0]}x{size[1]} image, and none twice")  # fmt: skip
        self.regions = regions
        return regions

    # looking

    def look(self, progress: Progress = print) -> Trajectory:
        """Both rounds, as the policy likes."""
        agent, look = self._ready(progress)
        prompt = prompt_ids(agent.policy, look.prompt())
        reply = self._write(agent, "round 1", [prompt], [[look.first_view]], progress)
        progress("magnifying")
        result = answered(agent.policy, look, reply)
        results = [] if result is None else [result]
        return self._finish(agent, look, Round1(self.sample, prompt, reply), results, progress)

    def look_again(self, progress: Progress = print) -> Trajectory:
        """Round 2 on the regions that are drawn; round 1 is as it was, up to its tool call, which names them."""
        if not self.regions:
            raise ValueError("no region is drawn; expected one at least, for the second round to look at")
        agent, look = self._ready(progress)
        first = self._round1
        if first is None:
            prompt = prompt_ids(agent.policy, look.prompt())
            reply = self._write(agent, "round 1", [prompt], [[look.first_view]], progress)
            first = Round1(self.sample, prompt, reply)
        boxes = [region.box for region in self.regions]
        first = replace(first, reply=force(agent.policy, look, first.reply, boxes))
        progress("magnifying")
        return self._finish(agent, look, first, [look.show(self.regions)], progress)

    def _ready(self, progress: Progress) -> tuple[Agent, Episode]:
        if not self.sample:
            raise ValueError("there is no image yet; open one first")
        self.ask(self.sample.question)
        if self.policy is None:
            progress(f"loading {self.run.config.model}")
        self._image()  # it may be gone meanwhile
        agent = self.agent
        return agent, Episode(agent, self.sample)

    def _finish(self, agent: Agent, look: Episode, first: Round1, results: list, progress: Progress) -> Trajectory:
        replies, policy = [first.reply], agent.policy
        if results:
            views = [part["image"] for result in results if isinstance(result, list) for part in result]
            prompt = first.prompt + first.reply + suffix_ids(policy, results)
            replies.append(self._write(agent, "round 2", [prompt], [[look.first_view, *views]], progress))
        made = look.trajectory([*map(policy.text, replies)], [*map(len, replies)], f"playground, {self.network}")
        self.trajectory, self.regions, self._round1 = made, [r for r in made.regions if r.usable], first
        return made

    def _write(self, agent: Agent, name: str, prompts, images, progress: Progress) -> list[int]:
        with told(agent.policy.model, name, agent.config.round_tokens, progress):
            [reply] = agent.policy.generate(prompts, images, agent.config.round_tokens)
        return reply

    # what there is to see

    def _image(self) -> Image.Image:
        return open_image(self.sample.image)

    def first_view(self) -> Image.Image:
        """The whole image at the resolution in which round 1 sees it."""
        if not self.sample:
            raise ValueError("there is no image yet; open one first")
        return self.agent.policy.first_view(self._image(), self.run.config.first_view_pixels)

    def views(self, *networks: str) -> list[tuple[Image.Image, dict[str, Image.Image]]]:
        """For each region: the crop as the image has it, and its view by each network, by default the present one."""
        image, magnifier, shown = self._image(), self.agent.magnifier, []
        for region in self.regions:
            views = {}
            for network in networks or (self.network,):
                tool = Magnifier(network, magnifier.view_pixels, magnifier.factor, magnifier.margin, self.run.views)
                views[network], record = tool.view(image, region.box)
            shown.append((image.crop(record.box), views))
        return shown


@dataclass(frozen=True)
class _Opened:
    filename: str
    pixels: Image.Image


def _opened(path: Path, name: str) -> _Opened:
    """An image that is not too large; ValueError of one sentence, with the name by which it was asked for."""
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as image,
        ):
            width, height = image.size
    except Exception:  # what it is that cannot be read, `open_image` says
        width = height = 0
    if width * height > PIXELS:
        raise ValueError(f"{name}: {width}x{height} pixels; expected at most {PIXELS / 1e6:.0f} million in all")
    try:
        pixels = open_image(path)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), name)) from None
    if max(pixels.size) > 100 * min(pixels.size):
        raise ValueError(f"{name}: {width}x{height} pixels; expected sides that differ by a factor of 100 at most")
    return _Opened(str(path), pixels)
