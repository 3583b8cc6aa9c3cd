import errno
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mags_kit.config import load_config
from mags_kit.data.own import read_own
from mags_kit.images import open_image
from mags_kit.method import protocol, rewards
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.rollout import TOOLS, prompt_ids, rollout, suffix_ids
from mags_kit.records import read_samples, read_trajectories, write_jsonl
from mags_kit.run import Run

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


def test_two_rounds_and_one(scripted, go, smoke_run, tmp_path):
    from mags_kit.viz import draw

    [t] = go(scripted([[FIRST], [SECOND]]))
    assert (t.draft, t.answer, t.outcome) == ("1", "2", "answered") and t.replies == (FIRST, SECOND)
    [region], [view] = t.regions, t.views
    assert region.box == (92, 92, 246, 246) and region.outcome == "ok"  # thousandths of 768 pixels
    assert view.box[0] < 92 and view.size == (128, 128)
    write_jsonl(tmp_path / "t.jsonl", [t])  # which is enough to redraw it
    drawn = draw.trajectory(read_trajectories(tmp_path / "t.jsonl")[0], smoke_run.data)
    assert drawn.count("<img") == 3 and drawn.count("<pre") == 2  # the image, the region as it is and magnified; replies
    [t] = go(scripted([["<think>the red disc</think><answer>2</answer>"]]), rounds=1)
    assert (t.answer, t.outcome, t.regions) == ("2", "answered", ())


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


@pytest.mark.parametrize(
    "echo",
    ["<think>a <draft> </draft></think>", "<draft> </draft>", "<think>a <draft>1</draft></think>", "<draft></draft>"],
)
def test_a_draft_that_is_only_echoed_from_the_prompt_earns_nothing(scripted, go, samples, echo):
    second = f"<rethink>then <answer> </answer></rethink><answer>{samples[0].answer}</answer><answer> </answer>"
    [t] = go(scripted([[echo + CALL], [second]]))
    assert (t.draft, t.answer, rewards.answer(t), rewards.verify(t)) == (None, samples[0].answer, 1, 0)


def test_calls_and_no_calls_share_a_batch(scripted, go):
    made = go(scripted([[FIRST, "<answer>1</answer>", FIRST], [SECOND, SECOND]]), 3)
    assert [len(t.replies) for t in made] == [2, 1, 2]
    assert [t.outcome for t in made] == ["answered", "no_call", "answered"]


def test_forced_regions_take_the_place_of_the_policys_and_are_seen_whole(scripted, go, samples):
    made = go(scripted([[FIRST] * 8, [SECOND] * 8]), 8, regions=[list(s.boxes) for s in samples[:8]])
    assert {(t.draft, t.answer) for t in made} == {("1", "2")}
    for t, sample in zip(made, samples, strict=False):
        (x0, y0, x1, y1), (a, b, c, d) = sample.boxes[0], t.regions[0].box
        assert x0 - 32 < a <= x0 and y0 - 32 < b <= y0 and x1 <= c < x1 + 32 and y1 <= d < y1 + 32  # a step is 31


@given(st.sampled_from(["thousand", "pixels"]), st.lists(st.integers(0, 2000), min_size=4, max_size=4))
def test_a_box_snapped_outward_encloses_what_it_was_within_the_image(frame, numbers):
    (x0, x1), (y0, y1) = sorted(numbers[:2]), sorted(numbers[2:])
    view, source = (560, 420), (max(x1, 1), max(y1, 1))
    for step in (1, 40) if frame == "thousand" else (1,):
        written = protocol.to_model((x0, y0, x1, y1), frame, view, source, step, outward=True)
        a, b, c, d = protocol.to_source(written, frame, view, source)
        assert not any(v % step for v in written)
        assert -0.01 < a < x0 + 0.01 and -0.01 < b < y0 + 0.01
        assert x1 - 0.01 < c < source[0] + 0.01 and y1 - 0.01 < d < source[1] + 0.01


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


@pytest.mark.slow
def test_real_photos_through_two_rounds_with_real_super_resolution(policy, real_photos, tmp_path):
    """Real photos, real questions, real regions, real Real-ESRGAN x4plus views, with the policy at hand."""
    samples, skipped = read_own(real_photos / "counting.jsonl", tmp_path)
    assert len(samples) == 19 and not skipped
    config = replace(load_config("smoke"), magnifier="realesrgan-x4plus", view_pixels=160 * 160)
    agent = replace(Agent.of(Run(tmp_path / "runs" / "r", config), policy), folder=tmp_path)
    made = rollout(agent, samples[:2], progress=False)
    assert len(made) == 2 and all(t.size == open_image(tmp_path / t.sample.image).size for t in made)
    rows = [json.loads(line) for line in (real_photos / "counting.jsonl").read_text().splitlines()]
    boxes = [[tuple(round(v) for v in row["bboxs_xyxy"][0])] for row in rows[:2]]
    forced = rollout(agent, samples[:2], regions=boxes, progress=False)
    assert all(len(t.replies) == 2 and t.views for t in forced) and list((tmp_path / "runs" / ".views").rglob("*.png"))


@pytest.mark.parametrize("size", [(64, 96), (192, 192)])
def test_token_ids_by_sizes_are_the_processors_own(policy, size):
    image = {"type": "image", "image": Image.new("RGB", size)}
    first = {"role": "user", "content": [image, {"type": "text", "text": "How many dots?"}]}
    call = {"type": "function", "function": {"name": protocol.TOOL, "arguments": {}}}
    second = [{"role": "assistant", "content": [{"type": "text", "text": ""}], "tool_calls": [call]}]
    second += [{"role": "tool", "name": protocol.TOOL, "content": [image]}]
    own = [
        policy.processor.apply_chat_template(
            [talk], tools=TOOLS, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"][0]
        for talk in ([first], [first, *second])
    ]
    assert prompt_ids(policy, first["content"]) == list(own[0])
    suffix = suffix_ids(policy, [[image]])
    assert list(own[1])[-len(suffix) :] == suffix
