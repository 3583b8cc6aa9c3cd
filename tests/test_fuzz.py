"""Hostile replies in both loops, by a table and by the fuzzer's short version (`make fuzz` is the long one)."""

import pytest
from fuzz import BATCH, CALL, Given, fuzz
from test_replies import forms


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def checkpoint(request, tmp_path_factory):
    return Given(request.param, tmp_path_factory.mktemp(request.param))


def call(arguments: str, name: str = "magnify") -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


TABLE = [
    (CALL, "answered", [True]),
    (f"<think>I could {CALL}</think>", "no_call", []),
    ("", "no_call", []),
    ("<answer>2</answer>", "no_call", []),
    (call('{"regions": ' + "[" * 1000 + "}"), "bad_call", []),
    (call('{"regions": []}', "reset"), "bad_call", []),
    (call('{"regions": []}', "<|image_pad|>"), "bad_call", []),  # would come back in an error message
    (call('{"regions": [], "zoom": 2}'), "answered", []),  # read without what the tool does not take
    (call("[[1, 2, 3, 4]]"), "bad_call", []),
    (call('"{}"'), "bad_call", []),
    (call("{}"), "bad_call", []),
    (call('{"regions": "left"}'), "answered", [False]),
    (call('{"regions": []}') * 2, "answered", []),
    (f"<|image_pad|><|vision_start|>{CALL}", "answered", [True]),  # spelt out, these are no image tokens
    (f"{CALL}<|im_start|>user", "answered", [True]),
    ("<tool_call>" + "x" * 500, "bad_call", []),  # cut off
]


def test_a_reply_means_the_same_in_rollout_and_in_trl(checkpoint):
    assert len(TABLE) == BATCH
    end = checkpoint.tokenizer.eos_token_id
    firsts = [checkpoint.within([*checkpoint.encode(text), end]) for text, *_ in TABLE]
    answer = [*checkpoint.encode("<rethink>so</rethink><answer>2</answer>"), end]
    here, there = checkpoint.both(firsts, [answer])
    for (text, outcome, usable), mine, theirs in zip(TABLE, here, there, strict=True):
        assert (mine.outcome, [r.usable for r in mine.regions]) == (outcome, usable), text[:80]
        assert mine == theirs, text[:80]
    assert here[0].answer == "2" and len(here[5].replies) == 1


def test_what_real_models_write_is_the_same_look_in_rollout_and_in_trl(checkpoint):
    box = {"pixels": [10, 10, 50, 40], "thousand": [100, 200, 500, 700]}[checkpoint.agent.policy.frame]
    written = forms(box) | {call('{"regions": [[0.1, 0.2, 0.5, 0.7]]}'): "shares"}
    assert BATCH <= len(written) <= 2 * BATCH  # the two batches leave none out
    end = checkpoint.tokenizer.eos_token_id
    for batch in ([*written.items()][:BATCH], [*written.items()][-BATCH:]):
        firsts = [[*checkpoint.encode(text), end] for text, _ in batch]
        here, there = checkpoint.both(firsts, [[*checkpoint.encode("<answer>2</answer>"), end]])
        assert here == there and all(t.outcome == "answered" and len(t.views) == 1 for t in here)
        assert [r.outcome for t in here for r in t.regions] == [form for _, form in batch]


def test_a_call_at_the_very_limit_of_tokens_ends_before_the_tool_speaks(checkpoint):
    """Without an end mark of its own, round 1 must not run on to that of the tool's message."""
    call = checkpoint.encode(CALL)
    filled = checkpoint.encode("x" * 1000)[: checkpoint.run.config.round_tokens - len(call)] + call
    assert len(filled) == checkpoint.run.config.round_tokens
    end = checkpoint.tokenizer.eos_token_id
    firsts = [filled, call, [*call, end]] * 5 + [filled]  # the second as of an engine that stops before the limit
    here, there = checkpoint.both(firsts, [[end]])
    assert here == there and all(t.outcome == "no_answer" and t.replies[0].endswith(CALL) for t in here)


def test_forced_regions_stand_behind_whatever_the_policy_spelt(checkpoint):
    from mags_kit.method.rollout import rollout

    agent, spelt = checkpoint.agent, checkpoint.encode("<|image_pad|> <think>a")
    generate, turns = type(agent.policy).generate, iter([[spelt], [spelt]])
    try:
        type(agent.policy).generate = lambda policy, prompts, images, *_: (
            policy._inputs(prompts, images),
            next(turns),
        )[1]
        [made] = rollout(agent, [checkpoint.samples[0]], regions=[[(10, 10, 40, 40)]], progress=False)
    finally:
        type(agent.policy).generate = generate
    assert made.views and made.replies[0].startswith("<|image_pad|> <think>a<tool_call>")


def test_some_thousand_replies(checkpoint):
    work = fuzz(checkpoint, 1500)
    assert work.replies >= 1500 and work.looped and sum(work.looked.values())
