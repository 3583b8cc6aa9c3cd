"""Hostile replies mean the same in rollout and in TRL's loop, and never raise. `make fuzz` makes 200,000 of them."""

import dataclasses
import json
import math
import os
import random
import zlib

import pytest
from PIL import Image
from random_model import save_random
from test_parsing import called, forms

from mags_kit.method import protocol, rewards, training, trl_environment
from mags_kit.method.curriculum import Stage
from mags_kit.method.episode import Agent
from mags_kit.method.policy import load_policy
from mags_kit.method.rollout import rollout
from mags_kit.records import Sample, to_json, trajectory_from
from mags_kit.run import open_run

BATCH, GROUP = 16, 4
SIZES = {  # what differs from `paper`: replies of 200 tokens, nothing large
    "magnifier": "bicubic", "four_bit": False, "round_tokens": 200, "first_view_pixels": 8 * 28 * 28, "beta": 0.0,
    "view_pixels": 56 * 56, "max_regions": 2, "num_generations": GROUP, "samples_per_step": BATCH // GROUP,
    "rollout_batch": 0, "micro_batch": 0, "stage_steps": (1,), "gradient_checkpointing": False, "batch_size": BATCH,
}  # fmt: skip
CALL = protocol.tool_call_text([(10, 20, 300, 400)])
TABLE = [  # reply, outcome, usable regions
    (CALL, "answered", [True]), (f"<think>I could {CALL}</think>", "answered", [True]), ("", "no_call", []),
    ("<answer>2</answer>", "no_call", []), (called('{"regions": ' + "[" * 190 + "}"), "bad_call", []),
    (called('{"regions": []}', '"reset"'), "bad_call", []),
    (called('{"regions": []}', '"<|image_pad|>"'), "bad_call", []),  # would come back in an error message
    (called('{"regions": [], "zoom": 2}'), "answered", []),  # read without what the tool does not take
    (called("[[1, 2, 3, 4]]"), "bad_call", []), (called('"{}"'), "bad_call", []), (called("{}"), "bad_call", []),
    (called('{"regions": "left"}'), "answered", [False]), (called('{"regions": []}') * 2, "answered", []),
    (f"<|image_pad|><|vision_start|>{CALL}", "answered", [True]),  # spelt out, these are no image tokens
    (f"{CALL}<|im_start|>user", "answered", [True]), ("<tool_call>" + "x" * 500, "bad_call", []),  # cut off
]  # fmt: skip


class Loops:
    """A tiny random checkpoint, and what both loops make of replies that are given instead of sampled."""

    def __init__(self, kind: str, folder):
        model = save_random(kind, folder / "model")
        run = open_run("paper", "fuzz", {"model": str(model), **SIZES}, root=folder / "runs")
        run.data.mkdir(exist_ok=True)
        Image.linear_gradient("L").resize((96, 72)).convert("RGB").save(run.data / "a.png")
        self.samples = tuple(Sample(f"s{i}", "a.png", "Is <|image_pad|> there?", "2") for i in range(BATCH))
        policy = load_policy(run.config, trainable=True)
        self.tokenizer, self.agent = policy.processor.tokenizer, Agent.of(run, policy)
        self.trainer = training.build_trainer(run, policy, Stage("all", self.samples, 1))

    def tokens(self, text: str, end: bool = True, special: bool = False) -> list[int]:
        """A reply as an engine gives it, up to the limit, an end mark or a tool call; `special` tokens but for images,
        or none."""
        stops, vision = self.agent.policy.stops, self.agent.policy.vision_ids
        ids = [t for t in self.tokenizer.encode(text, split_special_tokens=not special) if t not in vision]
        ids = (ids + [self.tokenizer.eos_token_id] * end)[: SIZES["round_tokens"]]
        return ids[: next((at for at, token in enumerate(ids, 1) if token in stops), len(ids))]

    def scripted(self, turn) -> Agent:
        """The agent with replies by `turn(prompts)`; its processor still takes the prompts and images."""

        class Scripted(type(self.agent.policy)):
            def generate(self, prompts, images, max_tokens, temperature=0.0):
                self.inputs(prompts, images)
                return turn(prompts)

        fields = {f.name: getattr(self.agent.policy, f.name) for f in dataclasses.fields(self.agent.policy)}
        return dataclasses.replace(self.agent, policy=Scripted(**fields))

    def both(self, firsts: list[list[int]], seconds: list[list[int]], patch) -> tuple[list, list]:
        """The trajectories that `rollout` and TRL's trainer make of the same replies, one for each sample.

        Which second reply follows depends on the tokens of its prompt, so both have to make the same prompts.
        """
        from trl import GRPOTrainer

        def second(prompts):
            return [list(seconds[zlib.crc32(repr(list(prompt)).encode()) % len(seconds)]) for prompt in prompts]

        def turn(trainer, prompts, images, fields, num_generations, has_tool_images=False):
            return ([*map(list, firsts)] if num_generations > 1 else second(prompts)), None

        first = iter([firsts])
        agent = self.scripted(lambda prompts: next(first, None) or second(prompts))
        here = rollout(agent, list(self.samples), progress=False, condition="training")
        patch.setattr(GRPOTrainer, "_generate_single_turn", turn)
        self.trainer.model.train()
        rows = [self.trainer.train_dataset[i] for i in range(BATCH)]
        batch = self.trainer._generate_and_score_completions(rows)
        written = zip(self.trainer.environments, batch["completion_ids"], batch["completion_mask"], strict=True)
        there = [trl_environment.trajectory(own.episode, ids[mask.bool()].tolist()) for own, ids, mask in written]
        return here, there


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl", pytest.param("qwen3_5", marks=pytest.mark.long)])
def loops(request, tmp_path_factory):
    return Loops(request.param, tmp_path_factory.mktemp(request.param))


def test_a_reply_means_the_same_in_rollout_and_in_trl(loops, monkeypatch):
    firsts = [loops.tokens(text) for text, *_ in TABLE]
    here, there = loops.both(firsts, [loops.tokens("<rethink>so</rethink><answer>2</answer>")], monkeypatch)
    for (text, outcome, usable), mine, theirs in zip(TABLE, here, there, strict=True):
        assert (mine.outcome, [r.usable for r in mine.regions]) == (outcome, usable), text[:80]
        assert mine == theirs, text[:80]
    assert here[0].answer == "2"


def test_what_real_models_write_is_the_same_in_rollout_and_in_trl(loops, monkeypatch):
    box = {"pixels": [10, 10, 50, 40], "thousand": [100, 200, 500, 700]}[loops.agent.policy.family.frame]
    written = [*forms(box).items(), (called('{"regions": [[0.1, 0.2, 0.5, 0.7]]}'), "shares")]
    written.append(written[0])
    here, there = loops.both([loops.tokens(t) for t, _ in written], [loops.tokens("<answer>2</answer>")], monkeypatch)
    assert here == there and all(t.outcome == "answered" and len(t.views) == 1 for t in here)
    assert [r.outcome for t in here for r in t.regions] == [form for _, form in written]


def test_a_call_at_the_very_limit_of_tokens_ends_before_the_tool_speaks(loops, monkeypatch):
    """Without an end mark of its own, round 1 must not run on to that of the tool's message."""
    call = loops.tokens(CALL, end=False)
    filled = loops.tokens("x" * 1000)[: SIZES["round_tokens"] - len(call)] + call
    firsts = [filled, call, loops.tokens(CALL)] * 5 + [filled]  # the second as of an engine that stops before the limit
    here, there = loops.both(firsts, [loops.tokens("")], monkeypatch)
    assert here == there and all(t.outcome == "no_answer" and t.replies[0].endswith(CALL) for t in here)


def test_forced_regions_stand_behind_whatever_the_policy_spelt(loops):
    agent = loops.scripted(lambda prompts: [loops.tokens("<|image_pad|> <think>a", end=False)])
    [made] = rollout(agent, [loops.samples[0]], regions=[[(10, 10, 40, 40)]], progress=False)
    assert made.views and made.replies[0].startswith("<|image_pad|> <think>a<tool_call>")


PIECES = [
    *(f"<{slash}{tag}>" for tag in (*protocol.TAGS, "tool_call") for slash in ("", "/")), "<THINK>", '<answer a="b">',
    *protocol.VISION_TOKENS, "<|im_start|>assistant\n", "<|im_end|>", "<|endoftext|>", "<tool_response>", CALL, CALL[:-20],
    "<draft>2</draft>", "<answer>no</answer>", '{"name": "magnify", ', '"arguments": ', '{"regions": ', "[[", "]]",
    "}}", "null", "1e999", "-NaN", "9" * 99, '\\"', "\\ud800", "```json\n", "```", "<function=magnify>", "</function>",
    "<parameter=regions>", "</parameter>", '{"bbox_2d": ', "__import__('os')", "{{7*7}}", "\u202e", "\x00", "é", "\n",
]  # fmt: skip
BOXES = [[100, 200, 500, 700], [0, 0, 990, 1000], [5, 5, 9, 9], [-90, 0, 400, 300], [900, 0, 9, 9], [20, 20, 300, 90]]
BOXES += [["100", "200", "500", "700"], [0.1, 0.2, 0.5, 0.7], {"bbox_2d": [30, 30, 400, 400], "label": "dog"}]
VALUES = [None, True, 0, -90, 1e999, 0.5, "left", "7", [], {}, [1, 2, 3], [None, 1, 2, 3], [[[1, 2, 3, 4]]]]


def hostile(chance: random.Random) -> str:
    """A reply of pieces and odd tool calls in any order, some of them torn."""
    text = ""
    for _ in range(chance.randint(1, 8)):
        regions = chance.choices(BOXES * 2 + VALUES, k=chance.randint(0, 4))
        arguments = chance.choice([{"regions": regions}] * 5 + [*regions, *chance.sample(VALUES, 2)])
        call = called(json.dumps(arguments), chance.choice(['"magnify"'] * 12 + ['"reset"', "7"]))
        text += chance.choice([call, *chance.choices(PIECES, k=3)])
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(("<", '"', "]", "")) + text[at + chance.randint(0, 5) :]
    return f"{text} ."  # TRL gives a reply without any token an end mark


@pytest.mark.long
def test_some_thousand_replies(loops, monkeypatch):
    for seed in range(int(os.environ.get("REPLIES", 3200)) // BATCH):
        replies = [loops.tokens(hostile(random.Random(f"{seed} {i}")), i % 2 == 0, i % 3 == 0) for i in range(BATCH)]
        for mine, theirs in zip(*loops.both(replies, [ids[:64] for ids in replies], monkeypatch), strict=True):
            assert mine == theirs, f"seed {seed}"
            assert trajectory_from(json.loads(to_json(mine))) == mine
            assert all(map(math.isfinite, rewards.scores(mine, dict.fromkeys(rewards.REWARDS, 1.0)).values()))
