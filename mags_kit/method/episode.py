"""One episode: a policy looks at one image, answers or calls the magnifier, and looks again."""

import math
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from mags_kit.config import Config
from mags_kit.images import open_image
from mags_kit.method import protocol
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.parsing import parse_reply
from mags_kit.method.policy import Policy
from mags_kit.records import Box, Outcome, Region, RegionOutcome, Sample, Trajectory, blame, enlargement
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
    """The state of one episode: `prompt` begins it, `magnify` is its tool, `trajectory` is its record.

    `rounds`: 1 for an answer without the tool, 2 with it (and with more looks, where the settings allow them).
    `change`: what makes another image of the sample's, for training.
    """

    def __init__(self, agent: Agent, sample: Sample, rounds: int = 2, change=None):
        self.agent, self.sample, self.rounds = agent, sample, rounds
        with blame(sample, "reading its image"):
            self.image = open_image(agent.folder / sample.image)
            self.image = change(self.image) if change else self.image
            self.size = self.image.size  # (width, height) in pixels
            self.first_view = agent.policy.first_view(self.image, agent.config.first_view_pixels)
        self.regions, self.views, self.looks = [], [], []  # of all looks; how many regions each asked for
        self.shown = []  # the tool's answers
        self.error = None  # raised inside the tool

    @property
    def asks(self) -> str:
        """The name of its prompt in `protocol.PROMPTS`."""
        return "reason" if self.rounds == 1 else "two" if self.agent.config.must_look else "free"

    @property
    def tokens(self) -> int:
        """The policy's own tokens in a round, at most."""
        return self.agent.config.round_tokens

    def prompt(self) -> list[dict]:
        """The content of the first user message."""
        policy, most = self.agent.policy, self.agent.config.max_regions
        text, view = policy.prompts[self.asks], self.first_view
        return protocol.prompt(text, self.sample.question, view, policy.frame, most, policy.family.xml)

    def magnify(self, regions: list) -> list[dict] | str:
        """The views of the regions that can be magnified, as a tool message's content; as often as `max_looks` says."""
        agent, sizes = self.agent, (self.first_view.size, self.size)
        if len(self.looks) >= agent.config.max_looks:
            return protocol.NO_VIEW
        most, seen = agent.config.max_regions, tuple(self.regions)
        return self.show(protocol.read_regions(regions, agent.policy.frame, *sizes, most, seen))

    def show(self, regions: list[Region]) -> list[dict] | str:
        """The views of these regions in the form of `magnify`, whoever chose them: each image, and words about it."""
        self.looks.append(len(regions))
        self.regions += regions
        boxes, before = [region.box for region in regions if region.usable], len(self.views)
        try:
            with blame(self.sample, "magnifying"):
                cuts = [self.cut(before + i, box) for i, box in enumerate(boxes)]
                magnified = [self.agent.magnifier.view(self.image, box) for box in cuts]
        except Exception as error:
            self.error = error  # TRL's tool loop turns it into text for the policy; `trajectory` raises it again
            raise
        self.views += [view for _, view in magnified]
        content, policy, first = [], self.agent.policy, self.first_view.size
        for number, (box, (image, view)) in enumerate(zip(boxes, magnified, strict=True), before + 1):
            written = list(protocol.to_model(box, policy.frame, first, self.size, policy.box_step))
            times = f"{enlargement(view, self.size, first):.1f}"
            content += [{"type": "image", "image": image}, *self._says("view", number=number, box=written, times=times)]
        if content:
            content += self._says("again" if len(self.looks) < self.agent.config.max_looks else "due")
        self.shown.append(content or protocol.NO_VIEW)
        return self.shown[-1]

    def _says(self, name: str, **values) -> list[dict]:
        """A text of the tool, as a part of its message; none where the style has no words for it."""
        text = self.agent.policy.prompts.get(name)
        return [{"type": "text", "text": text.format(**values)}] if text else []

    def cut(self, index: int, box: Box) -> Box:
        """The box that is magnified for the policy's `index`-th box: the same one; control conditions change this."""
        return box

    def trajectory(self, replies: list[str], lengths: list[int], condition: str = "training") -> Trajectory:
        """The record of this episode, given the policy's reply in each round and its number of tokens."""
        if self.error:
            raise self.error
        read = [parse_reply(reply) for reply in replies]
        first, last = read[0], read[-1]
        forms = [reply.form for reply, count in zip(read, self.looks, strict=False) for _ in range(count)]
        found = zip_longest(self.regions, forms, fillvalue=RegionOutcome.OK)
        regions = [Region(r.box, form) if r.outcome == RegionOutcome.OK else r for r, form in found]
        may_answer = self.looks or self.rounds == 1 or not self.agent.config.must_look
        if may_answer and last.answer is not None:
            outcome = Outcome.ANSWERED
        elif first.called and not self.looks:
            outcome = Outcome.BAD_CALL
        else:
            outcome = Outcome.NO_ANSWER if may_answer else Outcome.NO_CALL
        pixels = sum(math.prod(view.size) for view in self.views)
        return Trajectory(
            self.sample, self.size, condition, tuple(replies), tuple(lengths), tuple(regions), tuple(self.views),
            looks=tuple(self.looks), first_view=self.first_view.size, view_tokens=pixels // self.agent.policy.factor**2,
            magnifier=self.agent.magnifier.network, draft=first.draft,
            verdict=last.verdict if len(replies) > 1 else None, answer=last.answer, outcome=outcome,
        )  # fmt: skip
