import errno
from dataclasses import replace

import pytest
from PIL import Image

from mags_kit.method import protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.rollout import first_replies, imposed, prompt_ids, rollout, suffix_ids
from mags_kit.records import read_samples, read_trajectories, write_jsonl

CALL = protocol.tool_call_text([(120, 120, 320, 320)])
FIRST = f"<think>the red disc</think><draft>1</draft>{CALL}"
SECOND = "<rethink>the view shows 2, the draft was wrong</rethink><answer>2</answer>"


@pytest.fixture(scope="module")
def samples(smoke_run):
    return read_samples(smoke_run.samples("test"))


@pytest.fixture
def go(smoke_run, samples):
    def run(policy, count=1, **options):
        return rollout(Agent.of(smoke_run, policy, "bicubic"), samples[:count], progress=False, **options)

    return run


def test_two_rounds_and_one(scripted, go, tmp_path):
    [t] = go(scripted([[FIRST], [SECOND]]))
    assert (t.draft, t.answer, t.outcome) == ("1", "2", "answered") and t.replies == (FIRST, SECOND)
    [region], [view] = t.regions, t.views
    assert region.box == (92, 92, 246, 246) and region.outcome == "ok"  # thousandths of 768 pixels
    assert view.box[0] < 92 and view.size == (128, 128)
    write_jsonl(tmp_path / "t.jsonl", [t])
    assert read_trajectories(tmp_path / "t.jsonl") == [t]
    [t] = go(scripted([["<think>the red disc</think><answer>2</answer>"]]), rounds=1)
    assert (t.answer, t.outcome, t.regions) == ("2", "answered", ())


def test_several_looks_and_none(scripted, smoke_run, samples):
    """An answer, or a look more, as the settings allow; a region that was seen before is a duplicate."""
    again = CALL.replace("120, 120", "160, 160")
    plain = "<think>the red disc</think><answer>2</answer>"
    cases = [  # max_looks, must_look, the replies of each round; replies that count, looks, outcome
        (2, True, [FIRST, CALL, SECOND], 3, (1, 1), "ok duplicate", "answered"),
        (2, True, [FIRST, SECOND], 2, (1,), "ok", "answered"),
        (2, True, [FIRST, again], 3, (1, 1), "ok ok", "no_answer"),
        (3, True, [FIRST, again, again, again], 4, (1, 1, 1), "ok ok duplicate", "no_answer"),
        (1, True, [FIRST, CALL], 2, (1,), "ok", "no_answer"), (1, False, [plain], 1, (), "", "answered"),
        (1, False, [FIRST, SECOND], 2, (1,), "ok", "answered"),
        (1, False, ["<draft>1</draft>"], 1, (), "", "no_answer"),
    ]  # fmt: skip
    found = []
    for looks, must, replies, *_ in cases:
        config = replace(smoke_run.config, max_looks=looks, must_look=must)
        agent = Agent.of(smoke_run, scripted([[reply] for reply in (*replies, "")]), "bicubic")
        [t] = rollout(replace(agent, config=config), samples[:1], progress=False)
        found.append((looks, must, replies, len(t.replies), t.looks, " ".join(r.outcome for r in t.regions), t.outcome))
        assert t.view_tokens == 16 * len(t.views) and t.first_view == (192, 192)
    assert found == cases


def test_bad_calls_end_in_an_outcome_and_never_raise(scripted, go):
    table = {
        "<think>the red disc</think><answer>2</answer>": ("no_call", 1),
        "<think>the red disc</think>" + CALL.split("]]")[0]: ("bad_call", 1),
        CALL.replace("[[120, 120, 320, 320]]", "[[320, 320, 120, 120]]"): ("answered", 2),
        CALL.replace("120, 120, 320", "120, 120"): ("answered", 2),
        f"<think>I could {CALL}</think>": ("no_call", 1),
        "": ("no_call", 1),
    }
    made = [go(scripted([[first], [SECOND]]))[0] for first in table]
    assert {first: (t.outcome, len(t.replies)) for first, t in zip(table, made, strict=True)} == table
    assert not any(t.views for t in made)


def test_a_draft_that_is_only_echoed_from_the_prompt_earns_nothing(scripted, go, samples):
    second = f"<rethink>then <answer> </answer></rethink><answer>{samples[0].answer}</answer><answer> </answer>"
    for echo in ("<draft> </draft>", "<think>a <draft>1</draft></think>"):
        [t] = go(scripted([[echo + CALL], [second]]))
        assert (t.draft, t.answer, rewards.answer(t), rewards.verify(t)) == (None, samples[0].answer, 1, 0)


def test_forced_regions_take_the_place_of_the_policys_and_are_seen_whole(scripted, go, samples):
    made = go(scripted([[FIRST] * 8, [SECOND] * 8]), 8, regions=[list(s.boxes) for s in samples[:8]])
    assert {(t.draft, t.answer) for t in made} == {("1", "2")}
    for t, sample in zip(made, samples, strict=False):
        (x0, y0, x1, y1), (a, b, c, d) = sample.boxes[0], t.regions[0].box
        assert x0 - 32 < a <= x0 and y0 - 32 < b <= y0 and x1 <= c < x1 + 32 and y1 <= d < y1 + 32  # a step is 31


def test_errors_of_the_magnifier_and_the_disk_are_no_reply_of_the_tool(scripted, go, monkeypatch, smoke_run, samples):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "a/view.png")

    monkeypatch.setattr(Magnifier, "view", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="sample 'test-00000': magnifying failed with ZeroDivisionError: division"):
        go(scripted([[FIRST], [SECOND]]))
    monkeypatch.setattr(Magnifier, "view", full)
    episode = Episode(Agent.of(smoke_run, scripted([]), "bicubic"), samples[0])
    with pytest.raises(OSError, match="^.Errno 28. No space left on device: 'a/view.png'$"):
        episode.magnify([[120, 120, 320, 320]])  # TRL's tool loop makes a text of it
    with pytest.raises(OSError, match="No space left"):
        episode.trajectory([FIRST, SECOND], [1, 1])
    lost = replace(samples[0], image="images/lost.png")
    with pytest.raises(RuntimeError, match="sample 'test-00000': reading its image failed with ValueError: .*lost.png"):
        Episode(episode.agent, lost)


def test_greedy_rollouts_of_the_embedded_model_repeat(policy, go):
    one, two = go(policy, 4), go(policy, 4)
    assert one == two and all(t.replies[0] for t in one)


@pytest.mark.parametrize("size", [(64, 96), (192, 192)])
def test_token_ids_by_sizes_are_the_processors_own(policy, size):
    image = {"type": "image", "image": Image.new("RGB", size)}
    first = {"role": "user", "content": [image, {"type": "text", "text": "How many dots?"}]}
    call = {"type": "function", "function": {"name": protocol.TOOL, "arguments": {}}}
    second = [{"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call]}]
    second += [{"role": "tool", "name": protocol.TOOL, "content": [image]}]
    own = [
        policy.processor.apply_chat_template(
            [talk], tools=[protocol.magnify], add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"][0]
        for talk in ([first], [first, *second])
    ]
    assert prompt_ids(policy, first["content"]) == list(own[0])
    suffix = suffix_ids(policy, [[image]])
    assert list(own[1])[-len(suffix) :] == suffix


def test_a_way_of_looking_is_imposed_after_a_reply_s_own_rationale_even_if_it_has_no_end(policy, smoke_run, samples):
    for tokens in (smoke_run.config.round_tokens, 4):
        agent = Agent.of(smoke_run, policy, "bicubic")
        agent = replace(agent, config=replace(smoke_run.config, round_tokens=tokens))
        own = first_replies(agent, samples[:3], progress=False)
        assert all(len(ids) <= tokens for ids in own)
        for how, word in protocol.STRATEGIES.items():
            for ids, kept in zip(imposed(agent, samples[:3], own, how, progress=False), own, strict=True):
                start = protocol.looking(policy.text(kept), how)
                assert start.endswith(f"{word}</think>")
                assert policy.text(ids).startswith(start) and policy.text(ids) != start
