import re
from dataclasses import replace

import pytest
from PIL import Image
from test_draw import HOSTILE, Read, check_harmless
from test_records import make_trajectory

from mags_kit.records import Region, write_jsonl
from mags_kit.viz import draw, replay


def answers_of(name, answers, first=0):
    """A sample's answers, five steps apart; its truth is 3."""
    sample = replace(make_trajectory().sample, id=name, image="0.jpg", question=f"How many in {name}?")
    boxes = [(10 * i, 20, 10 * i + 50, 80) for i in range(len(answers))]
    names = [f"validation, step {first + 5 * i}" for i in range(len(answers))]
    made = [make_trajectory(sample=sample, regions=(Region(box, "ok"),)) for box in boxes]
    return [replace(t, answer=a, condition=name) for t, a, name in zip(made, answers, names, strict=True)]


@pytest.fixture
def trained(smoke_run, tmp_path):
    """A run with an image, and two samples answered in two stages: one gets better, one does not."""
    Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / "0.jpg")
    run = replace(smoke_run, path=tmp_path)
    for stage, first, answers in (("stage 1", 0, ["1", "1"]), ("stage 2", 10, ["3", "3", "3"])):
        made = answers_of("better", answers, first) + answers_of("same", ["3"] * len(answers), first)
        write_jsonl(run.stage(stage) / "looks.jsonl", made)
    return run


def test_answers_of_all_stages_are_found_by_sample_in_the_order_of_steps(trained, tmp_path):
    found = replay.frames(trained)
    assert list(found) == ["better", "same"]
    assert [(step, t.answer) for step, t in found["better"]] == [(0, "1"), (5, "1"), (10, "3"), (15, "3"), (20, "3")]
    first, *_, last = [t.rewards["total"] for _, t in found["better"]]
    assert first < last and replay.most_improved(found) == "better"


def test_the_slider_goes_through_the_steps_of_a_sample(trained, tmp_path):
    widget = replay.Replay(replay.frames(trained), tmp_path)
    assert widget.sample.value == "better" and widget.step.options == (0, 5, 10, 15, 20)
    shown = Read(widget.panel.value)
    assert "How many in better?" in shown.text and "region 1 ok at 0, 20, 50, 80" in widget.panel.value
    [said] = re.findall(r'alt="Reward\. (.*?)"', widget.panel.value)
    assert re.fullmatch(r"(step \d+: -?\d\.\d\d(, |$)){5}", said)
    widget.step.value = 15  # as the mouse does, or the arrow keys
    assert "region 1 ok at 10, 20, 60, 80" in widget.panel.value and "step 15" in Read(widget.panel.value).text
    widget.sample.value = "same"
    assert "How many in same?" in Read(widget.panel.value).text


def test_a_hostile_question_and_reply_stay_text(trained, tmp_path):
    bad = [
        (step, replace(t, sample=replace(t.sample, id=HOSTILE, question=HOSTILE), replies=(HOSTILE,), answer=HOSTILE))
        for step, t in replay.frames(trained)["better"]
    ]
    assert HOSTILE in check_harmless(replay.Replay({HOSTILE: bad}, tmp_path).panel.value).text
    few, all_ = replay.show_replay(bad, tmp_path, most=3), replay.show_replay(bad, tmp_path)
    assert few.width < all_.width == 5 * 300 + 4 * draw.GAP
