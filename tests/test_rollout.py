import errno
import json
import os
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from mags_kit.config import load_config
from mags_kit.data.own import read_own
from mags_kit.images import open_image
from mags_kit.method import episode as looks
from mags_kit.method import protocol, rewards
from mags_kit.method import rollout as rollouts
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import Magnifier
from mags_kit.method.rollout import rollout
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


def test_two_rounds(scripted, go, samples):
    [t] = go(scripted([[FIRST], [SECOND]]))
    assert (t.draft, t.answer, t.outcome) == ("1", "2", "answered") and t.replies == (FIRST, SECOND)
    [region], [view] = t.regions, t.views
    assert region.box == (92, 92, 246, 246) and region.outcome == "ok"  # thousandths of 768 pixels
    assert view.box[0] < 92 and view.size == (128, 128)


@pytest.mark.parametrize(
    "first, outcome, rounds",
    [
        ("<think>the red disc</think><answer>2</answer>", "no_call", 1),
        ("<think>the red disc</think>" + CALL.split("]]")[0], "bad_call", 1),
        (CALL.replace("[[120, 120, 320, 320]]", "[[320, 320, 120, 120]]"), "answered", 2),
        (CALL.replace("120, 120, 320", "120, 120"), "answered", 2),
        (f"<think>I could {CALL}</think>", "no_call", 1),
        ("", "no_call", 1),
    ],
)
def test_bad_calls_end_in_an_outcome_and_never_raise(scripted, go, first, outcome, rounds):
    [t] = go(scripted([[first], [SECOND]]))
    assert (t.outcome, len(t.replies)) == (outcome, rounds) and not t.views


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


def test_one_round(scripted, go):
    [t] = go(scripted([["<think>the red disc</think><answer>2</answer>"]]), rounds=1)
    assert (t.answer, t.outcome, t.regions) == ("2", "answered", ())


def test_forced_regions_take_the_place_of_the_policys(scripted, go, samples):
    [t] = go(scripted([[FIRST], [SECOND]]), regions=[[samples[0].boxes[0]]])
    x0, y0, x1, y1 = samples[0].boxes[0]
    a, b, c, d = t.views[0].box
    assert t.draft == "1" and t.answer == "2"
    assert a <= x0 + 16 and b <= y0 + 16 and c >= x1 - 16 and d >= y1 - 16  # its numbers are 31 pixels apart


def test_a_failing_magnifier_is_a_bug_and_stops(scripted, go, monkeypatch):
    monkeypatch.setattr(Magnifier, "view", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="sample 'test-00000': magnifying failed with ZeroDivisionError: division"):
        go(scripted([[FIRST], [SECOND]]))


def test_a_disk_that_is_full_is_no_bug_and_no_reply_of_the_tool(scripted, go, monkeypatch, smoke_run, samples):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "a/view.png")

    monkeypatch.setattr(Magnifier, "view", full)
    with pytest.raises(OSError, match="^.Errno 28. No space left on device: 'a/view.png'$"):
        go(scripted([[FIRST], [SECOND]]))
    look = Episode(Agent.of(smoke_run, scripted([]), "bicubic"), samples[0])
    with pytest.raises(OSError):
        look.magnify([[120, 120, 320, 320]])  # which TRL's tool loop makes a text of
    with pytest.raises(OSError, match="No space left"):
        look.trajectory([FIRST, SECOND], [1, 1])


def test_a_missing_image_is_a_bug_that_names_the_sample(scripted, smoke_run, samples):
    lost = replace(samples[0], image="images/lost.png")
    with pytest.raises(RuntimeError, match="sample 'test-00000': reading its image failed with ValueError: .*lost.png"):
        rollout(Agent.of(smoke_run, scripted([]), "bicubic"), [lost], progress=False)


def test_trajectories_are_enough_to_redraw(scripted, go, smoke_run, tmp_path):
    from mags_kit.viz import draw

    write_jsonl(tmp_path / "t.jsonl", go(scripted([[FIRST], [SECOND]])))
    made = draw.trajectory(read_trajectories(tmp_path / "t.jsonl")[0], smoke_run.data)
    assert made.count("<img") == 3 and made.count("<pre") == 2  # the image, the region as it is and magnified; replies


def test_greedy_rollouts_of_the_embedded_model_repeat(policy, go):
    one, two = go(policy, 4), go(policy, 4)
    assert one == two and all(t.replies[0] for t in one)


@pytest.mark.slow
def test_real_photos_through_two_rounds_with_real_super_resolution(policy, real_photos, tmp_path):
    """Real photos, real questions, real regions, real Real-ESRGAN x4plus views, with the policy at hand."""
    samples, skipped = read_own(real_photos / "counting.jsonl", tmp_path)
    assert len(samples) == 19 and not skipped
    config = replace(load_config("smoke"), magnifier="realesrgan-x4plus", view_pixels=96 * 96)
    agent = Agent.of(Run(tmp_path / "runs" / "r", config), policy)
    agent = replace(agent, folder=tmp_path)
    made = rollout(agent, samples[:2], progress=False)
    assert len(made) == 2 and all(t.size == open_image(tmp_path / t.sample.image).size for t in made)
    rows = [json.loads(line) for line in (real_photos / "counting.jsonl").read_text().splitlines()]
    boxes = [[tuple(round(v) for v in row["bboxs_xyxy"][0])] for row in rows[:2]]
    forced = rollout(agent, samples[:2], regions=boxes, progress=False)
    assert all(len(t.replies) == 2 and t.views for t in forced) and list((tmp_path / "runs" / ".views").rglob("*.png"))


def test_token_ids_by_sizes_are_the_processors_own(policy):
    for size in ((64, 96), (192, 192)):
        content = [{"type": "image", "image": Image.new("RGB", size)}, {"type": "text", "text": "How many dots?"}]
        own = policy.processor.apply_chat_template(
            [[{"role": "user", "content": content}]], tools=rollouts.TOOLS, add_generation_prompt=True, tokenize=True,
            return_dict=True,
        )["input_ids"][0]  # fmt: skip
        assert rollouts.prompt_ids(policy, content) == list(own)


def test_looks_at_a_time_share_an_image_that_is_read_anew_when_it_changed(smoke_run, policy, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(path)
    agent = replace(Agent.of(smoke_run, policy, "bicubic"), folder=tmp_path)
    sample = replace(read_samples(smoke_run.samples("test"))[0], image="a.png", boxes=())
    one, two = Episode(agent, sample), Episode(agent, sample)
    assert one.image is two.image and one.first_view is two.first_view
    smaller = replace(agent, config=replace(agent.config, first_view_pixels=32 * 32))
    assert Episode(smaller, sample).first_view.size != one.first_view.size
    Image.new("RGB", (64, 64), "blue").save(path)
    os.utime(path, ns=(1, 1))
    assert Episode(agent, sample).image.getpixel((0, 0)) == (0, 0, 255) and one.image.getpixel((0, 0)) == (255, 0, 0)
    path.unlink()
    with pytest.raises(RuntimeError, match="reading its image failed with ValueError: .*no such image"):
        Episode(agent, sample)


def test_a_later_look_decodes_an_image_only_to_cut_from_it(smoke_run, policy, samples, tmp_path, monkeypatch):
    agent, sample = replace(Agent.of(smoke_run, policy, "bicubic"), folder=tmp_path), replace(samples[0], image="a.jpg")
    shutil.copy(smoke_run.data / samples[0].image, tmp_path / "a.jpg")  # which no other test looks at
    first = Episode(agent, sample)
    view, size, made = first.first_view.tobytes(), first.size, first.magnify([[200, 200, 400, 400]])
    del first
    opened = []
    monkeypatch.setattr(looks, "open_image", lambda path: opened.append(path) or open_image(path))
    later = Episode(agent, sample)
    assert later.first_view.tobytes() == view and later.size == size and not opened
    assert later.magnify([[200, 200, 400, 400]]) == made and len(opened) == 1
    looks.FIRST_VIEWS.forget()
    assert Episode(agent, replace(sample, id="another")).first_view.tobytes() == view and len(opened) == 1  # one at a time


def test_a_greedy_second_round_that_was_there_is_not_written_again(smoke_run, policy, samples):
    agent, samples, known = Agent.of(smoke_run, policy, "bicubic"), samples[:3], {}
    one = rollout(agent, samples, second_replies=known, progress=False)
    [written] = known.values()
    known.update(dict.fromkeys(known, [written[0]] * len(written)))
    again = rollout(agent, samples, second_replies=known, progress=False)
    assert [t.replies[1] for t in again] == [policy.text(written[0])] * 3
    assert [t.replies[0] for t in again] == [t.replies[0] for t in one]
    rollout(agent, samples[:2], second_replies=known, progress=False)  # others beside it: another batch
    assert len(known) == 2
    with pytest.raises(ValueError, match="known second rounds are greedy ones; expected temperature 0"):
        rollout(agent, samples, second_replies={}, temperature=1.0, progress=False)
