"""Baselines, ablations and controls of an evaluation, and what each isolates."""

import re
import zlib
from dataclasses import dataclass, replace

import numpy as np

from mags_kit.config import BLANK, Config
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.scoring import options
from mags_kit.records import Box, Outcome, Sample, Trajectory

ONE, MAIN = "one round, full view", "two rounds, super-resolution"  # what the claim compares
PLAIN, BICUBIC = "two rounds, plain crop", "two rounds, bicubic"
COMPACT, X4PLUS = "two rounds, compact", "two rounds, x4plus"
DIRECT, BOXES = "direct answer", "one round, boxes and no view"
BLANKED, RANDOM, AGAIN = "two rounds, blank view", "two rounds, random region", "two rounds, whole image again"
ORACLE = "two rounds, true region"
CONSTANT = {name: f"always {name}" for name in protocol.STRATEGIES}
CHECKPOINTS = {"base": "base", "trained": "trained", "alone": "this model"}  # as tables and charts name them
WRITTEN_BOX = r"[\[(]" + ",".join([r"\s*(-?\d+(?:\.\d+)?)\s*"] * 4) + r"[\])]"  # four numbers in brackets

DIRECT_TOKENS = 32  # of a direct answer; the benchmarks' own harnesses allow 16 or more


@dataclass(frozen=True)
class Condition:
    """One way to answer a question, and what its accuracy isolates when compared with MAIN's."""

    kind: str  # method, baseline, ablation or control
    isolates: str
    rounds: int = 2
    network: str = ""  # of the magnifier; empty: the run's own
    prompt: str = ""  # a name in `protocol.PROMPTS`; empty: that of the number of rounds
    shows: str = "asked"  # which region a view shows: asked, random, whole, true
    how: str = ""  # the one way of looking that is imposed (`protocol.STRATEGIES`)


# In the order of the result table.
ALL = {
    ONE: Condition("baseline", "one look at the whole image, reasoning before the answer", 1, "none"),
    DIRECT: Condition("baseline", "the answer alone, as the benchmarks ask for it", 1, "none", "direct"),
    PLAIN: Condition("ablation", "a second look at the region, not enlarged", network="none"),
    BICUBIC: Condition("ablation", "the region enlarged, without added detail", network="bicubic"),
    MAIN: Condition("method", "the region enlarged by the run's own magnifier"),
    **{name: Condition("baseline", "one way of looking, imposed", how=how) for how, name in CONSTANT.items()},
    BOXES: Condition("baseline", "boxes written down, no view of them (as in GRIT)", 1, "none", "boxes"),
    COMPACT: Condition("ablation", "a small super-resolution network", network="realesr-animevideov3"),
    X4PLUS: Condition("ablation", "a large super-resolution network", network="realesrgan-x4plus"),
    BLANKED: Condition("control", "the second round itself, with nothing to see in the view", network=BLANK),
    RANDOM: Condition("control", "the choice of region: a view of the same size from a random place", shows="random"),
    AGAIN: Condition("control", "more pixels: the second view repeats the whole image", shows="whole"),
    ORACLE: Condition("control", "pointing: the region that holds the answer, where the data give it", shows="true"),
}
CONDITIONS = {name: ALL[name] for name in (ONE, DIRECT, PLAIN, BICUBIC, MAIN, *CONSTANT.values())}  # of grid="short"


def grid(config: Config, checkpoint: str = "base") -> dict[str, Condition]:
    """The conditions of a run, by name; one way of looking is imposed on the base alone, not on the trained policy."""
    named, without = CONDITIONS if config.grid == "short" else ALL, left_out(config)
    return {n: c for n, c in named.items() if n not in without and not (c.how and checkpoint == "trained")}


def left_out(config: Config) -> dict[str, str]:
    """The conditions that a run's grid leaves out, each with its reason."""
    reasons, words = {}, protocol.PROMPTS[config.prompt_style] | config.prompts
    for name, condition in (CONDITIONS if config.grid == "short" else ALL).items():
        if condition.prompt and condition.prompt not in words:
            reasons[name] = f"prompt style {config.prompt_style!r} has no words for it"
        elif condition.how and config.prompt_style != "compact":
            reasons[name] = "its words are the tiny models'"
        elif name == CONSTANT[protocol.AT_ONCE] and config.must_look:
            reasons[name] = "the prompt asks for a look"
        elif condition.network == config.magnifier and condition.rounds == 2 and name not in CONDITIONS:
            reasons[name] = f"it is “{MAIN}” in this run"
    return reasons


class ConditionedEpisode(Episode):
    """An episode that is asked and shown what its condition says."""

    def __init__(self, agent: Agent, sample: Sample, rounds: int, condition: Condition):
        super().__init__(agent, sample, rounds)
        self.condition, self.asks = condition, condition.prompt or self.asks
        if condition.prompt == "direct":
            self.tokens = DIRECT_TOKENS
            if "options" in agent.policy.prompts and options(sample.question):
                self.asks = "options"

    def cut(self, index: int, box: Box) -> Box:
        """The box that is shown in place of the `index`-th one that was asked for."""
        if self.condition.shows == "whole":
            return 0, 0, *self.size
        if self.condition.shows == "random":
            return anywhere(box, self.size, f"{self.agent.config.seed} {self.sample.id} {index}")
        return box  # as asked; for `true`, round 1 was rewritten to ask for it

    def trajectory(self, replies: list[str], lengths: list[int], condition: str = "") -> Trajectory:
        """As of every episode; the boxes that a prompt asks for in words are read from the words, and a direct answer
        is the whole reply."""
        if self.condition.prompt == "boxes":
            boxes = [[*map(float, found)] for found in re.findall(WRITTEN_BOX, replies[0])]
            frame, sizes = self.agent.policy.family.frame, (self.first_view.size, self.size)
            self.regions = protocol.read_regions(boxes, frame, *sizes, len(boxes))
        made = super().trajectory(replies, lengths, condition)
        return answered_directly(made) if self.condition.prompt == "direct" else made


def answered_directly(t: Trajectory) -> Trajectory:
    """A trajectory whose answer is its whole reply, unless it has one between tags."""
    answer = t.answer or t.replies[0].strip() or None
    return replace(t, answer=answer, outcome=Outcome.ANSWERED if answer else Outcome.NO_ANSWER)


def anywhere(box: Box, size: tuple[int, int], key: str) -> Box:
    """A box of the same size at a uniformly random place in an image of `size`; always the same one for a key."""
    width, height = box[2] - box[0], box[3] - box[1]
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    x, y = (int(v) for v in rng.integers(0, (size[0] - width + 1, size[1] - height + 1)))
    return x, y, x + width, y + height
