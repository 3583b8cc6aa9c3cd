"""One look at one image in two rounds: what the policy is shown, what it asks to magnify, and what came of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from weakref import WeakValueDictionary

from PIL import Image

from mags_kit.config import Config
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.features import Recent
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import Policy
from mags_kit.method.parsing import parse_reply
from mags_kit.records import Box, RegionOutcome, Outcome, Region, Sample, Trajectory, blame
from mags_kit.run import Run


@dataclass(frozen=True)
class Agent:
    """A policy with the magnifier in its hand, the settings by which it looks, and where its samples' images lie."""

    policy: Policy
    magnifier: Magnifier
    config: Config
    folder: Path

    @classmethod
    def of(cls, run: Run, policy: Policy, network: str = "") -> "Agent":
        """The agent of a run, with its own magnifier or another `network`."""
        config = run.config
        pixels = min(config.view_pixels, policy.limits[1])
        magnifier = Magnifier(network or config.magnifier, pixels, policy.factor, config.margin, cache_dir=run.views)
        return cls(policy, magnifier, config, run.data)


@dataclass(eq=False)
class Seen:
    """An image, and what the policy is first shown of it, in RGB; both are never changed."""

    path: Path
    size: tuple[int, int]  # of the image, in pixels
    first_view: Image.Image

    @cached_property
    def image(self) -> Image.Image:
        return open_image(self.path)


_SEEN: WeakValueDictionary = WeakValueDictionary()  # that are looked at now
FIRST_VIEWS = Recent()  # of earlier looks, each beside its image's size: a fiftieth of the image's own bytes


def seen(agent: Agent, path: Path) -> Seen:
    """An image, decoded once for all looks at it that there are at a time, as those of a group, and its first view once
    for later looks, too: who only needs that need not decode the image again."""
    policy, pixels = agent.policy, agent.config.first_view_pixels
    try:
        stored = path.stat()
    except OSError:
        stored = None  # what is wrong, `open_image` says
    key = (path, stored and (stored.st_mtime_ns, stored.st_size), pixels, policy.factor, policy.limits)
    found = _SEEN.get(key)
    if found is None:
        opened = []

        def make() -> tuple:
            opened.append(open_image(path))
            view = policy.first_view(opened[0], pixels)
            return (opened[0].size, view), 3 * math.prod(view.size)

        found = _SEEN[key] = Seen(path, *FIRST_VIEWS.get(key, make))
        if opened:
            found.image = opened[0]
    return found


class Episode:
    """The state of one look: `prompt` begins it, `magnify` is its tool, `trajectory` ends it."""

    def __init__(self, agent: Agent, sample: Sample, rounds: int = 2):
        self.agent, self.sample, self.rounds = agent, sample, rounds
        with blame(sample, "reading its image"):
            self.seen = seen(agent, agent.folder / sample.image)
        self.regions, self.views = [], []
        self.called, self.shown = False, None  # whether the tool was called, and what it answered
        self.bug = None  # an error inside the tool, ours or the disk's

    @property
    def image(self) -> Image.Image:
        return self.seen.image

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image, which need not be decoded for it."""
        return self.seen.size

    @property
    def first_view(self) -> Image.Image:
        return self.seen.first_view

    def prompt(self) -> list[dict]:
        """The content of the first user message."""
        policy = self.agent.policy
        [message] = protocol.prompt(
            self.sample.question,
            self.first_view,
            self.rounds,
            policy.style,
            policy.frame,
            self.agent.config.max_regions,
        )
        return message["content"]

    def magnify(self, regions: list) -> list[dict] | str:
        """The views of the regions that can be magnified, as a tool message's content; once in a look."""
        if self.called:
            return protocol.NO_VIEW
        agent, sizes = self.agent, (self.first_view.size, self.size)
        return self.show(protocol.read_regions(regions, agent.policy.frame, *sizes, agent.config.max_regions))

    def show(self, regions: list[Region]) -> list[dict] | str:
        """The views of these regions in the form of `magnify`, whoever chose them."""
        self.called = True
        self.regions, agent = regions, self.agent
        try:
            with blame(self.sample, "magnifying"):
                usable = [region.box for region in self.regions if region.usable]
                magnified = [agent.magnifier.view(self.image, self.cut(i, box)) for i, box in enumerate(usable)]
        except Exception as bug:
            self.bug = bug  # TRL's tool loop would pass it to the policy as text; `trajectory` raises it again
            raise
        self.views = [view for _, view in magnified]
        self.shown = [{"type": "image", "image": image} for image, _ in magnified] or protocol.NO_VIEW
        return self.shown

    def cut(self, index: int, box: Box) -> Box:
        """What is magnified where the policy asks for `box`, its `index`-th: that very box. Controls show another."""
        return box

    def trajectory(self, replies: list[str], lengths: list[int], condition: str = "training") -> Trajectory:
        """The record of this look, given what the policy wrote in each round, and how many tokens that took."""
        if self.bug:
            raise self.bug
        first, last = parse_reply(replies[0]), parse_reply(replies[-1])
        regions = [Region(r.box, first.form) if r.outcome == RegionOutcome.OK else r for r in self.regions]
        whole = self.called or self.rounds == 1
        if whole and last.answer is not None:
            outcome = Outcome.ANSWERED
        elif first.called and not self.called:
            outcome = Outcome.BAD_CALL
        else:
            outcome = Outcome.NO_ANSWER if whole else Outcome.NO_CALL
        return Trajectory(
            self.sample, self.size, condition, tuple(replies), tuple(lengths), tuple(regions),
            tuple(self.views), self.agent.magnifier.network, first.draft, last.verdict if len(replies) == 2 else None,
            last.answer, outcome,
        )  # fmt: skip
