"""Whole conversations of each family through its real templates, as `tests/transcripts/FAMILY.txt` for people to read.

After an intended change: `UPDATE=1 .venv/bin/python -m pytest tests/test_transcripts.py -m ""`; then read the diff.
"""

import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from random_model import KINDS, save_random
from test_qwen import PAPER, SIZES
from tiny_qwen import as_published

from mags_kit.config import load_config
from mags_kit.evaluation.conditions import ALL, DIRECT, ONE, ConditionedEpisode
from mags_kit.method import protocol, rollout
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.policy import load_policy
from mags_kit.records import Sample

TRANSCRIPTS = Path(__file__).parent / "transcripts"
SAMPLE = Sample("1", "photo.png", "How many dots are on the red disc?", "3", boxes=((100, 80, 180, 160),))
LAST = "<rethink>the view shows 3</rethink><verdict>wrong</verdict><answer>3</answer>"


def situations(policy, config):
    """Name -> how the episode is made, its settings, and what the policy writes in each round."""

    def call(*box):
        written = [list(protocol.to_model(box, policy.family.frame, (364, 252), (640, 448)))]
        return "<think>the disc is small</think><draft>2</draft>" + protocol.tool_call_text(written, policy.family.xml)

    def one_round(name):
        return lambda agent: ConditionedEpisode(agent, SAMPLE, 1, ALL[name])

    twice, free = replace(config, max_looks=2), replace(config, must_look=False)
    look = partial(Episode, sample=SAMPLE)
    return {
        "direct": (one_round(DIRECT), config, ["3"]),
        "reason, then answer": (one_round(ONE), config, ["<think>I count them</think><answer>3</answer>"]),
        "two rounds": (look, config, [call(100, 80, 180, 160), LAST]),
        "two looks": (look, twice, [call(100, 80, 180, 160), call(120, 90, 160, 130), LAST]),
        "no look": (look, free, ["<think>it is plain to see</think><answer>3</answer>"]),
    }


def transcript(policy, config, folder) -> str:
    written = []
    for name, (begin, settings, texts) in situations(policy, config).items():
        turns, seen = iter(texts), []

        class Scripted(type(policy)):
            def generate(self, prompts, images, max_tokens, temperature=0.0):
                seen.append((prompts[0], max_tokens))
                return [self.processor.tokenizer.encode(next(turns))]

        scripted = Scripted(**{field: getattr(policy, field) for field in policy.__dataclass_fields__})
        agent = Agent(scripted, Magnifier("bicubic", 112 * 112, policy.factor, 0.0), settings, folder)
        episode = begin(agent)
        replies = rollout._replies(agent, [episode], 0.0, None, None)[0]
        t = episode.trajectory([*map(policy.text, replies)], [*map(len, replies)])
        prompt, tokens = seen[-1]
        text = policy.processor.tokenizer.decode(prompt + replies[-1])
        text = re.sub(r"(<\|image_pad\|>)+", lambda run: f"<{run[0].count('>')} image tokens>", text)
        facts = f"outcome {t.outcome}, answer {t.answer}, draft {t.draft}, verdict {t.verdict}, looks {list(t.looks)}, "
        facts += f"{t.view_tokens} image tokens of views, at most {tokens} tokens a reply"
        written.append(f"######## {name}\n{text}\n######## {facts}\n")
    return "\n".join(written)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.long] * (k != PAPER)) for k in KINDS])
def test_conversations_read_as_they_did(kind, tmp_path):
    model = as_published(save_random(kind, tmp_path / "model"))
    config = load_config("paper", {"model": str(model), **SIZES})
    Image.new("RGB", (640, 448), "white").save(tmp_path / "photo.png")
    now = transcript(load_policy(config), replace(config, first_view_pixels=364 * 252), tmp_path)
    file = TRANSCRIPTS / f"{kind}.txt"
    if os.environ.get("UPDATE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(now)
    assert now == file.read_text()
