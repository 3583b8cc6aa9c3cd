"""One episode: a policy looks at one image in up to two rounds, with the magnifier as its tool."""

from dataclasses import dataclass
from pathlib import Path

from mags_kit.config import Config
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.parsing import parse_reply
from mags_kit.method.policy import Policy
from mags_kit.records import Box, Outcome, Region, RegionOutcome, Sample, Trajectory, blame
from mags_kit.run import Run


@dataclass(frozen=True)
class Agent:
    """A policy with its magnifier and settings; `folder` is where the samples' images are."""

    policy: Policy
    magnifier: Magnifier
    config: Config
    folder: Path

    @classmethod
    def of(cls, run: Run, policy: Policy, network: str = "") -> "Agent":
        """The agent of a run, with the run's own magnifier or another `network`."""
        config, pixels = run.config, min(run.config.view_pixels, policy.limits[1])
        magnifier = Magnifier(network or config.magnifier, pixels, policy.factor, config.margin, cache_dir=run.views)
        return cls(policy, magnifier, config, run.data)


class Episode:
    """The state of one episode: `prompt` begins it, `magnify` is its tool, `trajectory` is its record."""

    def __init__(self, agent: Agent, sample: Sample, rounds: int = 2):
        self.agent, self.sample, self.rounds = agent, sample, rounds
        with blame(sample, "reading its image"):
            self.image = open_image(agent.folder / sample.image)
            self.size = self.image.size  # (width, height) in pixels
            self.first_view = agent.policy.first_view(self.image, agent.config.first_view_pixels)
        self.regions, self.views = [], []
        self.called, self.shown = False, None  # whether the tool was called, and its answer
        self.error = None  # raised inside the tool

    def prompt(self) -> list[dict]:
        """The content of the first user message."""
        policy, most = self.agent.policy, self.agent.config.max_regions
        question, view = self.sample.question, self.first_view
        return protocol.prompt(question, view, self.rounds, policy.style, policy.frame, most)[0]["content"]

    def magnify(self, regions: list) -> list[dict] | str:
        """The views of the regions that can be magnified, as a tool message's content; once in an episode."""
        if self.called:
            return protocol.NO_VIEW
        agent, sizes = self.agent, (self.first_view.size, self.size)
        return self.show(protocol.read_regions(regions, agent.policy.frame, *sizes, agent.config.max_regions))

    def show(self, regions: list[Region]) -> list[dict] | str:
        """The views of these regions in the form of `magnify`, whoever chose them."""
        self.called, self.regions = True, regions
        boxes = [region.box for region in regions if region.usable]
        try:
            with blame(self.sample, "magnifying"):
                magnified = [self.agent.magnifier.view(self.image, self.cut(i, box)) for i, box in enumerate(boxes)]
        except Exception as error:
            self.error = error  # TRL's tool loop turns it into text for the policy; `trajectory` raises it again
            raise
        self.views = [view for _, view in magnified]
        self.shown = [{"type": "image", "image": image} for image, _ in magnified] or protocol.NO_VIEW
        return self.shown

    def cut(self, index: int, box: Box) -> Box:
        """The box that is magnified for the policy's `index`-th box: the same one; control conditions change this."""
        return box

    def trajectory(self, replies: list[str], lengths: list[int], condition: str = "training") -> Trajectory:
        """The record of this episode, given the policy's reply in each round and its number of tokens."""
        if self.error:
            raise self.error
        first, last = parse_reply(replies[0]), parse_reply(replies[-1])
        regions = [Region(r.box, first.form) if r.outcome == RegionOutcome.OK else r for r in self.regions]
        complete = self.called or self.rounds == 1
        if complete and last.answer is not None:
            outcome = Outcome.ANSWERED
        elif first.called and not self.called:
            outcome = Outcome.BAD_CALL
        else:
            outcome = Outcome.NO_ANSWER if complete else Outcome.NO_CALL
        return Trajectory(
            self.sample, self.size, condition, tuple(replies), tuple(lengths), tuple(regions),
            tuple(self.views), self.agent.magnifier.network, first.draft, last.verdict if len(replies) == 2 else None,
            last.answer, outcome,
        )  # fmt: skip
