import io
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from PIL import Image
from test_inspector import HOSTILE, Read
from test_records import make_trajectory

from mags_kit.records import Region, write_jsonl
from mags_kit.viz import replay


def looks_of(name, answers, first=0):
    """A sample's looks, five steps apart; its truth is 3."""
    sample = replace(make_trajectory().sample, id=name, image="0.jpg", question=f"How many in {name}?")
    return [
        make_trajectory(
            sample=sample, answer=answer, condition=f"validation, step {first + 5 * i}",
            regions=(Region((10 * i, 20, 10 * i + 50, 80), "ok"),),
        )
        for i, answer in enumerate(answers)
    ]  # fmt: skip


@pytest.fixture
def trained(smoke_run, tmp_path):
    """A run with an image, and two samples looked at in two stages: one gets better, one does not."""
    Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / "0.jpg")
    run = replace(smoke_run, path=tmp_path)
    for stage, first, answers in (("stage 1", 0, ["1", "1"]), ("stage 2", 10, ["3", "3", "3"])):
        made = looks_of("better", answers, first) + looks_of("same", ["3"] * len(answers), first)
        write_jsonl(run.stage(stage) / "looks.jsonl", made)
    return run


@pytest.fixture
def widget(trained, tmp_path):
    return replay.Replay(replay.frames(trained), tmp_path)


def test_looks_of_all_stages_are_found_by_sample_in_the_order_of_steps(trained, tmp_path):
    found = replay.frames(trained)
    assert list(found) == ["better", "same"]
    assert [step for step, _ in found["better"]] == [0, 5, 10, 15, 20]
    assert [t.answer for _, t in found["better"]] == ["1", "1", "3", "3", "3"]
    first, *_, last = [t.rewards["total"] for _, t in found["better"]]
    assert first < last and replay.most_telling(found) == "better"
    assert replay.frames(replace(trained, path=tmp_path / "untrained")) == {}


@pytest.mark.parametrize(
    "count, most, kept",
    [(3, 8, [0, 1, 2]), (9, 3, [0, 4, 8]), (31, 4, [0, 10, 20, 30]), (9, 8, [0, 1, 2, 3, 5, 6, 7, 8])],
)
def test_a_few_of_many_looks_have_the_first_and_the_last_among_them(count, most, kept):
    looks = [(i, make_trajectory()) for i in range(count)]
    assert [step for step, _ in replay.spread(looks, most)] == kept


def test_the_slider_goes_through_the_steps_of_a_sample(widget):
    assert widget.sample.value == "better" and widget.step.options == (0, 5, 10, 15, 20)
    shown = Read(widget.panel.value)
    assert "How many in better?" in shown.text and "region 1 ok at 0, 20, 50, 80" in widget.panel.value
    widget.step.value = 15  # as the mouse does, or the arrow keys
    assert widget.current.answer == "3" and "region 1 ok at 10, 20, 60, 80" in widget.panel.value
    widget.go(5)
    assert widget.current.answer == "1" and "step 5" in Read(widget.panel.value).text
    widget.sample.value = "same"
    assert "How many in same?" in Read(widget.panel.value).text and widget.current.answer == "3"


def test_the_rewards_are_said_in_words_beside_the_drawing(widget):
    [said] = re.findall(r'aria-label="Reward\. (.*?)"', widget.panel.value)
    assert re.fullmatch(r"(step \d+: -?\d\.\d\d(, |$)){5}", said)


def test_a_hostile_question_and_reply_stay_text(trained, tmp_path):
    found = replay.frames(trained)
    bad = {
        HOSTILE: [
            (
                step,
                replace(t, sample=replace(t.sample, id=HOSTILE, question=HOSTILE), replies=(HOSTILE,), answer=HOSTILE),
            )
            for step, t in found["better"]
        ]
    }
    widget = replay.Replay(bad, tmp_path)
    made = Read(widget.panel.value)
    assert HOSTILE in made.text and "script" not in {tag for tag, _ in made.tags}
    plt.close(widget.figure())


def test_the_figure_has_a_picture_a_step_and_the_rewards_below(widget):
    figure = widget.figure()
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:5] == ["step 0: 1", "step 5: 1", "step 10: 3", "step 15: 3", "step 20: 3"]
    [line] = figure.axes[-1].lines
    assert list(line.get_xdata()) == [0, 5, 10, 15, 20] and line.get_ydata()[0] < line.get_ydata()[-1]
    plt.close(figure)


def test_a_look_without_an_answer_has_a_dash(widget, tmp_path):
    frames = [(step, replace(t, answer=None)) for step, t in widget.looks["better"][:1]]
    figure = replay.show_replay(frames, tmp_path)
    assert figure.axes[0].get_title(loc="left") == "step 0: –"
    plt.close(figure)


def test_the_gif_has_a_frame_a_step(widget, tmp_path):
    before = plt.get_fignums()
    moving = Image.open(io.BytesIO(replay.gif(widget.looks["better"][:3], tmp_path, seconds=0.5)))
    assert moving.format == "GIF" and moving.n_frames == 3 and moving.info["duration"] == 500
    assert plt.get_fignums() == before


def test_nothing_to_replay_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="no look of a training is stored; expected one at least"):
        replay.Replay({}, tmp_path)
