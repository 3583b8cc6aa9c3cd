"""The grid: what each condition asks and shows, and that round 1 is made once for all of them."""

import dataclasses
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mags_kit.config import PROFILES, load_config
from mags_kit.method import protocol
from mags_kit.method.episode import Agent
from mags_kit.records import Region, read_samples
from mags_kit.evaluation import conditions
from mags_kit.evaluation.conditions import (
    AGAIN, BLANKED, BOXES, CONSTANT, DIRECT, MAIN, ONE, ORACLE, RANDOM, ConditionedEpisode,
)  # fmt: skip
from mags_kit.evaluation.evaluate import evaluate, read_costs
from mags_kit.viz import draw
from mags_kit.run import Run

CALLS = [protocol.tool_call_text([box]) for box in ([120, 120, 320, 320], [480, 440, 680, 760])]
AT_ONCE = "<think>the red disc shows plus</think><answer>plus</answer>"
SECOND = "<rethink>the view shows plus</rethink><answer>plus</answer>"


@pytest.fixture
def answering(policy):
    """The real processor with replies in place of a model, and what it was asked: kind of prompt and last images."""

    class Answering(type(policy)):
        asked = []

        def generate(self, prompts, images, max_tokens, temperature=0.0):
            tokenizer, replies = self.processor.tokenizer, []
            for number, (prompt, shown) in enumerate(zip(prompts, images, strict=True)):
                two = "Look twice" in tokenizer.decode(prompt)
                first = f"<think>the red disc</think><draft>1</draft>{CALLS[number % 2]}"
                replies.append([*tokenizer.encode(SECOND if len(shown) > 1 else first if two else AT_ONCE), 3])
            kind = "second" if len(images[0]) > 1 else "first" if two else "one"
            self.asked.append((kind, [shown[-1] for shown in images]))
            return replies

    assert policy.processor.tokenizer.eos_token_id == 3
    return Answering(**{f.name: getattr(policy, f.name) for f in dataclasses.fields(policy)})


@pytest.fixture
def full(smoke_run, tmp_path):
    """A run with the full grid, and three of the smoke run's questions."""
    config = replace(smoke_run.config, grid="full")
    return Run(tmp_path / "r", config, parent=smoke_run), read_samples(smoke_run.samples("test"))[:3]


def test_the_grid_leaves_out_what_there_are_no_words_for_and_says_so():
    compact, style_full = load_config("cpu", {"grid": "full"}), replace(PROFILES["paper"], grid="full")
    assert [*conditions.grid(PROFILES["paper"]), *CONSTANT.values()] == list(conditions.CONDITIONS)
    wordless, same = "prompt style 'compact' has no words for it", "it is “two rounds, super-resolution” in this run"
    never = {CONSTANT["at once"]: "the prompt asks for a look"}
    assert conditions.left_out(PROFILES["cpu"]) == {DIRECT: wordless} | never
    assert conditions.left_out(replace(PROFILES["cpu"], must_look=False)) == {DIRECT: wordless}
    assert conditions.left_out(compact) == {DIRECT: wordless, BOXES: wordless, "two rounds, compact": same} | never
    embedded = dict.fromkeys(CONSTANT.values(), "its words are the tiny models'")
    assert conditions.left_out(style_full) == embedded | {"two rounds, x4plus": same}
    assert {*conditions.grid(compact), *conditions.left_out(compact)} == set(conditions.ALL)


def test_round_1_is_made_once_for_all_conditions_and_what_is_stored_is_not_made_again(answering, full):
    run, samples = full
    results = evaluate(run, answering, samples, "base")
    assert list(results) == list(conditions.grid(run.config))
    assert Counter(kind for kind, _ in answering.asked) == {"one": 1, "first": 4, "second": 11}
    two = {name: [t.replies[0] for t in each] for name, each in results.items() if conditions.ALL[name].rounds == 2}
    assert len({tuple(replies) for name, replies in two.items() if name not in (ORACLE, *CONSTANT.values())}) == 1
    for how in ("closely", "at two cards", "roughly"):
        assert all(f"{protocol.STRATEGIES[how]}</think>" in reply for reply in two[CONSTANT[how]])
    costs, before = read_costs(run)["base"], len(answering.asked)
    assert costs[ONE]["visual tokens a question"] == 36  # 192x192 pixels
    assert costs[MAIN]["visual tokens a question"] == pytest.approx(36 + (16 + 15 + 16) / 3)
    assert costs[MAIN]["seconds a question"] > 0
    assert evaluate(run, answering, samples, "base") == results and len(answering.asked) == before
    run.trajectories("base", ONE).unlink()
    assert evaluate(run, answering, samples, "base", [ONE, MAIN]) == {name: results[name] for name in (ONE, MAIN)}
    assert len(answering.asked) == before + 1


def test_controls_show_what_they_say(answering, full):
    run, samples = full
    results = evaluate(run, answering, samples, "base")
    asked = [t.views[0].box for t in results[MAIN]]
    random = [t.views[0].box for t in results[RANDOM]]
    sides = [np.subtract(box[2:], box[:2]) for boxes in (asked, random) for box in boxes]
    assert random != asked and np.abs(np.subtract(sides[:3], sides[3:])).max() <= 1  # a margin ends between two pixels
    assert {t.views[0].box for t in results[AGAIN]} == {(0, 0, 768, 768)}
    for t in results[ORACLE]:
        (x0, y0, x1, y1), (a, b, c, d) = t.sample.boxes[0], t.views[0].box
        assert a <= x0 + 16 and b <= y0 + 16 and c >= x1 - 16 and d >= y1 - 16  # its numbers are 31 pixels apart
    assert [t.regions for t in results[RANDOM]] == [t.regions for t in results[MAIN]]  # what was asked for stays
    grey = [images for kind, images in answering.asked if kind == "second" and not np.ptp(images[0])]
    assert len(grey) == 1 and grey[0][0].size == results[BLANKED][0].views[0].size
    assert results[BLANKED][0].magnifier == "blank" and draw.show(results[BLANKED][0], run.data)



def test_boxes_in_words_become_regions_in_source_pixels(policy, full):
    run, samples = full
    agent = Agent.of(run, replace(policy, prompts=protocol.PROMPTS["full"]))
    listed = replace(samples[0], question="Which? (A) plus (B) ring")
    boxes, direct, options = (
        ConditionedEpisode(agent, sample, 1, conditions.ALL[name])
        for name, sample in ((BOXES, samples[0]), (DIRECT, samples[0]), (DIRECT, listed))
    )
    text = boxes.prompt()[1]["text"]
    assert samples[0].question in text and "in thousandths of the image" in text and "{" not in text
    reply = "<think>the disc [250, 0, 500.0, 500] and (0, 0, 9, 9, 9)</think><answer>plus</answer>"
    found = boxes.trajectory([reply], [9])
    assert found.regions == (Region((192, 0, 384, 384), "ok"),) and (found.answer, found.views) == ("plus", ())
    told = f"{samples[0].question}\nAnswer the question using a single word or phrase."
    assert (direct.prompt()[1]["text"], direct.tokens, boxes.tokens) == (told, 32, run.config.round_tokens)
    assert options.prompt()[1]["text"].endswith("\nAnswer with the option's letter from the given choices directly.")
    made = [direct.trajectory([reply], [1]) for reply in ("Plus.", "<answer>plus</answer>", " ")]
    assert [(t.answer, t.outcome) for t in made] == [("Plus.", "answered"), ("plus", "answered"), (None, "no_answer")]


def test_a_random_region_is_the_same_for_the_same_key_and_fills_the_image():
    boxes = [conditions.anywhere((5, 5, 25, 15), (100, 50), str(i)) for i in range(300)]
    assert conditions.anywhere((5, 5, 25, 15), (100, 50), "7") == boxes[7]
    assert {(b[2] - b[0], b[3] - b[1]) for b in boxes} == {(20, 10)}
    assert min(b[0] for b in boxes) == 0 and max(b[2] for b in boxes) == 100
    assert conditions.anywhere((0, 0, 100, 50), (100, 50), "x") == (0, 0, 100, 50)
