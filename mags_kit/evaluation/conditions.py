"""The conditions of an evaluation: ways to answer the same question, each with what it is there to tell.

`PROMPTS` holds what only an evaluation asks. A prompt style without words for a condition leaves it out, and
`left_out` says so: nothing is asked of a model that it never learned to read.
"""

import math
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mags_kit import steps
from mags_kit.config import BLANK, Config
from mags_kit.method import protocol
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.scoring import normalise
from mags_kit.records import Box, Outcome, Sample, Trajectory
from mags_kit.run import Run

ONE, MAIN = "one round, full view", "two rounds, super-resolution"  # what the claim compares
PLAIN, BICUBIC = "two rounds, plain crop", "two rounds, bicubic"
DIRECT, BOXES, VOTE = "direct answer", "one round, boxes and no view", "majority of direct answers"
BLANKED, RANDOM, AGAIN = "two rounds, blank view", "two rounds, random region", "two rounds, whole image again"
ANOTHER, ORACLE = "two rounds, another question's region", "two rounds, true region"
CHECKPOINTS = {"before": "before RL", "after": "after RL", "alone": "this model"}  # as tables and charts name them
MOST_VOTES = 32

FORM = "as short as possible (yes or no, a number, a letter, or a word or two), in <answer> </answer>."
PROMPTS = {
    "compact": {},  # the embedded model reads `Answer now.` and `Look twice.`, which are the protocol's own
    "full": {
        "direct": "{question}\nGive the final answer at once, without any reasoning, " + FORM,
        "boxes": (
            "{question}\nReason about the image in <think> </think>, and write down there each region that your "
            "reasoning rests on, as a [x0, y0, x1, y1] box{frame}; then give the final answer, " + FORM
        ),
    },
}


@dataclass(frozen=True)
class Condition:
    """A way to answer. `network` is the magnifier's, empty: the config's own; `prompt` a key of PROMPTS, empty: the
    protocol's own words; `shows` what a view holds: the region that was asked for, or another."""

    rounds: int
    network: str = ""
    prompt: str = ""
    shows: str = "asked"  # asked, random, whole, another, true
    votes: bool = False
    tells: str = ""


# The rows of the result table. Under `full`, ONE asks for reasoning first: it is the chain of thought.
CONDITIONS = {
    ONE: Condition(1, "none", tells="one look at the whole image; under `full` with a chain of thought"),
    PLAIN: Condition(2, "none", tells="a second look at the region as it is"),
    BICUBIC: Condition(2, "bicubic", tells="the region enlarged, with nothing added"),
    MAIN: Condition(2, tells="the region enlarged by the run's own magnifier"),
}
MORE = {
    DIRECT: Condition(1, "none", "direct", tells="the answer alone, without any reasoning"),
    BOXES: Condition(1, "none", "boxes", tells="boxes are written and nothing is cut out (GRIT's way)"),
    "two rounds, compact": Condition(2, "realesr-animevideov3", tells="a small super-resolution network"),
    "two rounds, x4plus": Condition(2, "realesrgan-x4plus", tells="a large super-resolution network"),
    BLANKED: Condition(2, BLANK, tells="the second round without anything to see in it"),
    RANDOM: Condition(2, shows="random", tells="a view of the same size, from anywhere"),
    AGAIN: Condition(2, shows="whole", tells="more pixels spent on what was seen already"),
    ANOTHER: Condition(2, shows="another", tells="what this policy looks at when asked something else"),
    ORACLE: Condition(2, shows="true", tells="the region where the answer is, as far as data say it"),
    VOTE: Condition(1, "none", votes=True, tells="the tokens of a second look spent on answers without one"),
}


ALL = {**CONDITIONS, **MORE}


def grid(config: Config) -> dict[str, Condition]:
    """The conditions of a run, by name: those that its prompt style has words for, none of them twice."""
    if config.grid == "short":
        return CONDITIONS
    return {name: c for name, c in ALL.items() if not _left_out(name, c, config)}


def left_out(config: Config) -> dict[str, str]:
    """The conditions that the grid of a run leaves out, each with its reason."""
    if config.grid == "short":
        return {}
    reasons = {name: _left_out(name, condition, config) for name, condition in MORE.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _left_out(name: str, condition: Condition, config: Config) -> str:
    if condition.prompt and condition.prompt not in PROMPTS[config.prompt_style]:
        return f"prompt style {config.prompt_style!r} has no words for it"
    if name in MORE and condition.network == config.magnifier:
        return f"it is “{MAIN}” in this run"
    return ""


def step(run: Run, checkpoint: str, name: str) -> steps.Step:
    """The step of a run that makes a condition's answers."""
    condition, kinds = ALL[name], grid(run.config)
    shown = condition.shows == "another"
    rests_on = [kind for kind in (ONE, DIRECT, MAIN) if kind in kinds and (condition.votes or (shown and kind == MAIN))]
    before = tuple(step(run, checkpoint, kind) for kind in rests_on)
    return steps.answers(run, checkpoint, name, before)


class Conditioned(Episode):
    """A look under a condition: what it is asked and shown can differ, and what it takes is counted in `spent`.

    `elsewhere(look, index, box)` says which box is shown in a box's place.
    """

    def __init__(self, agent: Agent, sample: Sample, rounds: int, condition: Condition, elsewhere: Callable, spent):
        super().__init__(agent, sample, rounds)
        self.condition, self.elsewhere, self.spent = condition, elsewhere, spent
        self.spent["looks"] += 1
        self.spent["visual tokens"] += math.prod(self.first_view.size) // agent.policy.factor**2

    def prompt(self) -> list[dict]:
        if not self.condition.prompt:
            return super().prompt()
        policy = self.agent.policy
        text = PROMPTS[policy.style][self.condition.prompt]
        text = text.format(question=self.sample.question, frame=protocol.FRAMES[policy.frame])
        return [{"type": "image", "image": self.first_view}, {"type": "text", "text": text}]

    def cut(self, index: int, box: Box) -> Box:
        return self.elsewhere(self, index, box)

    def magnify(self, regions: list) -> list[dict] | str:
        """As every look; timed, and its views counted."""
        start, before = time.perf_counter(), len(self.views)
        try:
            return super().magnify(regions)
        finally:
            self.spent["magnifying"] += time.perf_counter() - start
            pixels = sum(math.prod(v.size) for v in self.views[before:])
            self.spent["visual tokens"] += pixels // self.agent.policy.factor**2

    def trajectory(self, replies: list[str], lengths: list[int], condition: str = "") -> Trajectory:
        """As every look; boxes that were asked for in words are read from the words."""
        if self.condition.prompt == "boxes":
            boxes = [[float(n) for n in re.findall(NUMBER, found)] for found in re.findall(WRITTEN_BOX, replies[0])]
            sizes = self.first_view.size, self.size
            self.regions = protocol.read_regions(boxes, self.agent.policy.frame, *sizes, len(boxes))
        return super().trajectory(replies, lengths, condition)


NUMBER = r"-?\d+(?:\.\d+)?"
WRITTEN_BOX = rf"[\[(]\s*{NUMBER}(?:\s*,\s*{NUMBER}){{3}}\s*[\])]"


def looks(condition: Condition, seed: int, others: list[Trajectory], spent: Counter) -> Callable:
    """What makes a Episode under a condition, for `rollout`. `others` are MAIN's trajectories, whose regions `another`
    shows; whatever is random comes from the seed and the sample's id."""
    boxes = regions_of_the_next(others) if condition.shows == "another" else {}
    places = {
        "asked": lambda look, index, box: box,
        "true": lambda look, index, box: box,  # round 1 is rewritten to ask for it
        "whole": lambda look, index, box: (0, 0, *look.size),
        "random": lambda look, index, box: anywhere(box, look.size, f"{seed} {look.sample.id} {index}"),
        "another": lambda look, index, box: _scaled(boxes[look.sample.id], look.size, index),
    }
    elsewhere = places[condition.shows]
    return lambda agent, sample, rounds: Conditioned(agent, sample, rounds, condition, elsewhere, spent)


def anywhere(box: Box, size: tuple[int, int], key: str) -> Box:
    """A box of the same size somewhere in an image of `size`, all places alike; always the same for a key."""
    width, height = box[2] - box[0], box[3] - box[1]
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    x, y = (int(v) for v in rng.integers(0, (size[0] - width + 1, size[1] - height + 1)))
    return x, y, x + width, y + height


def regions_of_the_next(trajectories: list[Trajectory]) -> dict[str, list[tuple[float, ...]]]:
    """For each sample id the regions, as shares of the image, that were chosen for the next question that has some."""
    of = [[tuple(np.array(r.box) / (t.size * 2)) for r in t.regions if r.usable] for t in trajectories]
    turned = [next((b for b in of[i + 1 :] + of[: i + 1] if b), []) for i in range(len(of))]
    return {t.sample.id: boxes for t, boxes in zip(trajectories, turned, strict=True)}


def _scaled(boxes: list, size: tuple[int, int], index: int) -> Box:
    x0, y0, x1, y1 = np.array(boxes[index % len(boxes)]) * (size * 2)
    return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)


def votes_for(two: list[Trajectory], one: list[Trajectory], factor: int) -> int:
    """How many answers in one round cost at least the tokens of two rounds. All votes share the first view, as both
    rounds do: so what counts is what is written, and the views, of which a token covers `factor` squared pixels."""
    views = sum(math.prod(view.size) for t in two for view in t.views) / factor**2
    cost, single = (sum(sum(t.lengths) for t in each) for each in (two, one))
    return int(np.clip(math.ceil((cost + views) / max(single, 1)), 2, MOST_VOTES))


def majority(ballots: list[Trajectory]) -> Trajectory:
    """One trajectory of several of the same sample: the answer that most gave, the earliest of them where some tie.

    Its replies are all that was written, in order.
    """
    given = [t.answer for t in ballots if t.outcome == Outcome.ANSWERED]
    counts = Counter(normalise(text) or text for text in given)
    answer = max(given, key=lambda text: counts[normalise(text) or text], default=None)
    replies, lengths = (tuple(v for t in ballots for v in getattr(t, name)) for name in ("replies", "lengths"))
    outcome = Outcome.ANSWERED if given else Outcome.NO_ANSWER
    return replace(ballots[0], replies=replies, lengths=lengths, answer=answer, outcome=outcome, draft=None)
