import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.config import PROFILES, WEIGHTS, load_config
from mags_kit.method import protocol, rewards
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.parsing import parse_reply
from mags_kit.records import FORMS, Region, View

GOOD = (
    "<think>t</think><draft>2</draft><tool_call>{}</tool_call>",
    "<rethink>r</rethink><verdict>wrong</verdict><answer>3</answer>",
)
PARTS = [  # replies, how many of the six parts they have
    (GOOD, 6), (GOOD[:1], 3), (("<think>t</think><draft>2</draft><tool_call>",), 2), (("gibberish",), 0),
    (("<think> </think><draft> </draft><tool_call> </tool_call>", "<answer> </answer>"), 0),
    (("<think><draft>2</draft><tool_call>{}</tool_call></think>",), 1),  # only spoken of
    (("<think>t</think><draft>2</draft>", "<rethink><verdict>wrong</verdict><answer>3</answer></rethink>"), 3),
    (("<think>t</think><draft>2</draft><tool_call>{}</tool_call> more",), 2),  # the call does not end the reply
    ((GOOD[0], f"{GOOD[1]}<answer></answer>"), 5),
    ((GOOD[0], "<verdict>wrong</verdict><answer>3</answer><rethink>r</rethink>"), 5),
]  # fmt: skip


def test_format_is_graded():
    ends = {1: "no_call", 2: "answered"}
    made = [make_trajectory(replies=replies, outcome=ends[len(replies)]) for replies, _ in PARTS]
    assert [(t.replies, round(6 * rewards.form(t), 6)) for t in made] == PARTS
    thought, said = "<think>t</think>", "<answer>3</answer>"
    at_once = {thought + said: 1, said: 0.5, said + thought: 0.5}  # where that is allowed
    assert {reply: rewards.form(make_trajectory(replies=(reply,))) for reply in at_once} == at_once


def test_regions_by_hand():
    """In a photo of 640x480 that the first view shows in 320x240, so that a view of 128x128 gains up to 128 pixels."""
    near, far = View((0, 0, 64, 64), (128, 128)), View((0, 0, 132, 132), (128, 128))
    cases = [(["ok"], near, 1), (["duplicate", "ok"], near, 0.5), (["ok"], far, 0), (["whole"], near, 0), ([], near, 0)]
    for outcomes, view, value in cases + [([form], near, 0) for form in FORMS]:  # it pays for the form asked for
        regions = tuple(Region((0, 0, 60, 60), outcome) for outcome in outcomes)
        t = make_trajectory(regions=regions, views=(view,), first_view=(320, 240))
        assert rewards.regions(t) == value, outcomes


def test_a_region_of_a_photo_gains_only_where_it_is_small():
    """At the sizes of the real profiles: of a photo of 640x480 nine tenths earn nothing, nor does a quarter."""
    earned = {}
    for profile, factor in (("paper", 28), ("qwen3-vl-4b", 32)):
        config, size = PROFILES[profile], (640, 480)
        scale = min(1, (config.first_view_pixels / math.prod(size)) ** 0.5)
        shown = tuple(round(side * scale / factor) * factor for side in size)
        magnifier = Magnifier("bicubic", config.view_pixels, factor, config.margin)
        for share in (0.9, 0.26, 0.2, 0.09, 0.02):
            width, height = (round(side * share**0.5) for side in size)
            cut = magnifier.crop_box((20, 10, 20 + width, 10 + height), size)
            view = View(cut, magnifier.view_size(cut[2] - cut[0], cut[3] - cut[1]))
            region = Region((20, 10, min(640, 20 + width), min(480, 10 + height)), "ok")
            t = make_trajectory(regions=(region,), views=(view,), first_view=shown)
            earned.setdefault(share, set()).add(rewards.regions(t))
    assert earned == {0.9: {0}, 0.26: {0}, 0.2: {0}, 0.09: {1}, 0.02: {1}}


def test_the_gate_and_rewards_of_ones_own(tmp_path):
    gained = {"regions": (Region((0, 0, 30, 30), "ok"),), "views": (View((0, 0, 30, 30), (64, 64)),)}
    right, wrong = make_trajectory(**gained), make_trajectory(answer="4", **gained)
    paid = {gate: [rewards.reward("regions", t, gate) for t in (right, wrong)] for gate in ("answer", "always", "none")}
    assert paid == {"answer": [1, 0], "always": [1, 1], "none": [0, 0]}
    looked = make_trajectory(looks=(1, 2), view_tokens=32)
    assert [rewards.reward(name, looked) for name in ("look_cost", "token_cost")] == [-2, -32]
    file = tmp_path / "my_rewards.py"
    file.write_text("def brief(t):\n    return 1 / len(t.answer)\n\ndef endless(t):\n    return float('inf')\n")
    assert rewards.scores(right, {f"{file}:brief": 0.5})["total"] == 0.5
    assert load_config("smoke", {"rewards": {f"{file}:brief": 0.5}}).rewards[f"{file}:brief"] == 0.5
    with pytest.raises(ValueError, match="my_rewards.py has no function long; expected one of a trajectory"):
        rewards.function(f"{file}:long")
    with pytest.raises(RuntimeError, match="sample 'a': reward .*:endless failed with ValueError: inf is no number"):
        rewards.reward(f"{file}:endless", right)
    with pytest.raises(RuntimeError, match="sample 'a': reward .*:brief failed with TypeError"):
        rewards.reward(f"{file}:brief", make_trajectory(answer=None, outcome="no_answer"))


def test_answers_drafts_and_verdicts_by_hand():
    """An answer counts where the rollout ended well, a draft in two rounds, a verdict for its truth alone."""
    made = [make_trajectory(), make_trajectory(answer="4"), make_trajectory(outcome="no_call")]
    assert list(map(rewards.answer, made)) == [1, 0, 0]
    table = {"2": {"wrong": 1, "right": 0, None: 0}, "3": {"right": 1, "wrong": -1}, None: {"wrong": 0}}
    rows = [(draft, verdict, value) for draft, values in table.items() for verdict, value in values.items()]
    for (draft, verdict, value), answer in product(rows, ("3", "2")):
        t = make_trajectory(draft=draft, verdict=verdict, answer=answer)
        assert (rewards.verify(t), rewards.draft(t)) == (value, draft == "3"), (draft, verdict, answer)
    assert rewards.draft(make_trajectory(draft="3", replies=GOOD[:1])) == 0


def played(drafts, verdicts, answers, calls="[[10, 10, 60, 60]]", first="", last="") -> float:
    """The mean total reward of a policy that writes these, question by question; the truth is always 3."""
    totals, sizes = [], ((640, 480), (640, 480))
    for draft, verdict, answer in zip(drafts, verdicts, answers, strict=True):
        call = f'<tool_call>{{"name": "magnify", "arguments": {{"regions": {calls}}}}}</tool_call>'
        last_reply = f"<rethink>r</rethink><verdict>{verdict}</verdict><answer>{answer}</answer>{last}"
        replies = f"{first}<think>t</think><draft>{draft}</draft>{call}", last_reply
        one, two = map(parse_reply, replies)
        found = tuple(protocol.read_regions(one.call["regions"] if one.call else [], "pixels", *sizes, 2))
        t = make_trajectory(
            replies=replies, draft=one.draft, verdict=two.verdict, answer=two.answer, regions=found,
            views=tuple(View(r.box, (128, 128)) for r in found if r.usable), first_view=sizes[0],
            outcome="answered" if one.call and two.answer else "no_call",
        )  # fmt: skip
        totals.append(rewards.scores(t, WEIGHTS)["total"])
    return float(np.mean(totals))


# Of four drafts one is right by luck. The honest policy answers three rightly; its verdicts follow its answers.
GUESSES, ANSWERS = ("3", "2", "2", "2"), ("3", "3", "3", "2")
HONEST = {"drafts": GUESSES, "verdicts": ("right", "wrong", "wrong", "right"), "answers": ANSWERS}
EXPLOITS = {
    "spoils its draft, and calls it wrong": {"drafts": ("x",) * 4, "verdicts": ("wrong",) * 4},
    "calls every draft wrong": {"verdicts": ("wrong",) * 4},
    "says nothing of its draft": {"verdicts": ("",) * 4},
    "drafts nothing": {"drafts": ("",) * 4, "verdicts": ("wrong",) * 4},
    "keeps its draft as its answer": {"answers": GUESSES, "verdicts": ("right",) * 4},
    "asks for many regions": {"calls": "[[10, 10, 60, 60], [70, 10, 120, 60], [10, 90, 60, 140], [90, 90, 140, 140]]"},
    "asks for no region": {"calls": "[]"},
    "asks for the whole image": {"calls": "[[0, 0, 640, 480]]"},
    "asks for a region too large to be magnified": {"calls": "[[10, 10, 400, 400]]"},
    "asks for the same region twice": {"calls": "[[10, 10, 60, 60], [10, 10, 60, 60]]"},
    "looks well, and answers wrongly": {"answers": ("9",) * 4, "verdicts": ("wrong",) * 4},
    "echoes empty tags at the end": {"last": "<verdict></verdict><answer></answer>"},
    "answers twice": {"last": "<answer>9</answer>"},
}


def test_no_exploit_earns_as_much_as_the_honest_reply():
    earned = {name: played(**HONEST | exploit) for name, exploit in EXPLOITS.items()}
    assert not {name: value for name, value in earned.items() if value >= played(**HONEST) - 0.01}
    at_once = [f"<think>t</think><answer>{answer}</answer>" for answer in ANSWERS]  # where that is allowed
    nothing, asked = {"draft": None, "regions": (), "views": ()}, zip(at_once, ANSWERS, strict=True)
    never = [make_trajectory(replies=(reply,), answer=answer, **nothing) for reply, answer in asked]
    assert np.mean([rewards.scores(t, WEIGHTS)["total"] for t in never]) < played(**HONEST) - 0.01
    echo = "<draft> </draft><verdict>right</verdict><answer>3</answer>"
    long = "<think>" + protocol.TOOL_PROMPT + " and so on" * 200 + "</think>"
    for more in (echo, long):  # neither echoed tags nor length nor a copy of the prompt earns anything
        assert played(**HONEST, first=more) == pytest.approx(played(**HONEST))


def test_spoiling_a_draft_never_pays():
    """Expected reward of drafts that are right with `chance` and judged rightly with `judged`, against spoilt ones."""
    for chance, judged in product((1 / 4, 1 / 2, 3 / 4), (1 / 2, 3 / 4, 1)):
        verdicts = chance * (2 * judged - 1) + (1 - chance) * judged
        assert WEIGHTS["draft"] * chance + WEIGHTS["verify"] * verdicts >= WEIGHTS["verify"], (chance, judged)


def test_total_is_the_weighted_sum():
    scores = rewards.scores(make_trajectory(replies=GOOD), {"answer": 1.0, "format": 0.5, "verify": 0.0})
    assert scores == {"answer": 1.0, "format": 1.0, "verify": 0.0, "total": 1.5}


def test_advantages_by_hand():
    """Mean 0.5, sample deviation 0.577; a group without spread gives zeros."""
    totals = [1, 0, 0, 1, 2, 2, 2, 2]
    assert np.allclose(rewards.advantages(totals, 4), [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0]])
    table = rewards.advantages(totals, 4, "group")
    assert np.allclose(table, [[0.866, -0.866, -0.866, 0.866], [0, 0, 0, 0]], atol=1e-3)


def test_an_own_reward_is_tried_on_what_is_stored_and_on_nothing_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("r.py").write_text(
        "def fine(t): return len(t.answer or '')\n"
        "def lower(t): return t.answer.lower() == 'x'\n"
        "def words(t): return t.replies[0]\n"
    )
    Path("broken.py").write_text("def x(t) return 1")
    stored = [make_trajectory(answer="2")]
    rewards.try_out({"answer": 1.0, "r.py:fine": 1.0}, stored)
    for name, said in (
        ("r.py:lower", "AttributeError: 'NoneType' object has no attribute 'lower'; expected a number"),
        ("r.py:words", "ValueError: could not convert string to float"),
        ("broken.py:x", "broken.py can't be run: SyntaxError"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            rewards.try_out({name: 1.0}, stored)
