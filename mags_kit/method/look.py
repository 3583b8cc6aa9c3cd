"""One look at one image in two rounds: what the policy is shown, what it asks to magnify, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from PIL import Image

from mags_kit.config import Config
from mags_kit.images import open_image
from mags_kit.method import fit, protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import Policy
from mags_kit.method.replies import parse_reply
from mags_kit.records import Box, Looked, Outcome, Region, Sample, Trajectory, blame
from mags_kit.runs import Run


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
        config = fit.fitted(run.config)
        pixels = min(config.view_pixels, policy.limits[1])
        magnifier = Magnifier(network or config.magnifier, pixels, policy.factor, config.margin, cache_dir=run.views)
        return cls(policy, magnifier, config, run.data)


@dataclass(eq=False)
class Seen:
    """An image in RGB, and what the policy is first shown of it; both are never changed."""

    image: Image.Image
    first_view: Image.Image


_SEEN: WeakValueDictionary = WeakValueDictionary()


def seen(agent: Agent, path: Path) -> Seen:
    """An image, decoded once for all looks at it that there are at a time, as those of a group."""
    policy, pixels = agent.policy, agent.config.first_view_pixels
    try:
        stored = path.stat()
    except OSError:
        stored = None  # what is wrong, `open_image` says
    key = (path, stored and (stored.st_mtime_ns, stored.st_size), pixels, policy.factor, policy.limits)
    found = _SEEN.get(key)
    if found is None:
        image = open_image(path)
        found = _SEEN[key] = Seen(image, policy.first_view(image, pixels))
    return found


class Look:
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
        agent, sizes = self.agent, (self.first_view.size, self.image.size)
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
        regions = [Region(r.box, first.form) if r.outcome == Looked.OK else r for r in self.regions]
        whole = self.called or self.rounds == 1
        if whole and last.answer is not None:
            outcome = Outcome.ANSWERED
        elif first.called and not self.called:
            outcome = Outcome.BAD_CALL
        else:
            outcome = Outcome.NO_ANSWER if whole else Outcome.NO_CALL
        return Trajectory(
            self.sample, self.image.size, condition, tuple(replies), tuple(lengths), tuple(regions),
            tuple(self.views), self.agent.magnifier.network, first.draft, last.verdict if len(replies) == 2 else None,
            last.answer, outcome,
        )  # fmt: skip
