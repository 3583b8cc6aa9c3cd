import io

import pytest
from PIL import Image

from mags_kit.method import protocol
from mags_kit.records import Trajectory, read_samples
from mags_kit.viz.inspector import Inspector
from mags_kit.viz.playground import Playground

FIRST = f"<think>the red disc</think><draft>1</draft>{protocol.tool_call_text([(120, 120, 320, 320)])}"
SECOND = "<rethink>the view shows 2, the draft was wrong</rethink><answer>2</answer>"
QUESTION = "How many dots are on the red disc?"


def content(size=(300, 200), kind="PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind)
    return out.getvalue()


@pytest.fixture
def hand(smoke_run, scripted):
    """On a policy whose replies are given: two rounds, then second rounds."""
    policy = scripted([[FIRST], [SECOND], [SECOND], [SECOND], [FIRST], [SECOND]])
    made = Playground(smoke_run, read_samples(smoke_run.samples("test")), policy=policy)
    made.network.value = "bicubic"
    made.list.value = list(made.samples)[0]  # as a user does
    return made


def test_it_opens_with_the_inspectors_question_and_follows_it(smoke_run, scripted):
    samples = read_samples(smoke_run.samples("test"))
    inspector = Inspector({"base": [Trajectory(s, (768, 768), "x", ("",), (1,)) for s in samples]}, smoke_run.data)
    hand = Playground(smoke_run, samples, scripted([]), inspector)
    assert hand.sample.id == samples[0].id and hand.question.value == samples[0].question and hand.error is None
    inspector.next()
    hand.taken.click()
    assert hand.sample.id == samples[1].id and hand.image.size == (768, 768)
    inspector.word.value = "nothing has this word"
    hand.taken.click()
    assert "the inspector shows no trajectory; lift a filter there" in said(hand) and hand.sample.id == samples[1].id


def said(hand) -> str:
    return hand.status.value.split('<div class="side">')[1]


def test_a_look_in_two_rounds_and_another_on_a_region_drawn_by_hand(hand):
    hand.both.click()
    t = hand.trajectory
    assert (t.draft, t.answer, t.outcome) == ("1", "2", "answered") and "looked in" in said(hand)
    assert hand.typed.value == "92 92 246 246" and [box["label"] for box in hand.boxes.bboxes] == ["1"]
    hand.boxes.bboxes = [{"x": 300, "y": 310, "width": 101, "height": 52, "label": ""}]  # as the mouse does
    assert hand.error is None and hand.regions == [(300, 310, 401, 362)]
    assert "region 1" in hand.panel.value and hand.typed.value == "300 310 401 362"
    hand.again.click()
    t, [region] = hand.trajectory, hand.trajectory.regions
    assert t.draft == "1" and t.answer == "2" and hand.regions == [(300, 310, 401, 362)]
    x0, y0, x1, y1 = region.box  # on the grid of the model
    assert 268 < x0 <= 300 and 278 < y0 <= 310 and 401 <= x1 < 433 and 362 <= y1 < 394
    assert t.replies[0].startswith("<think>the red disc</think><draft>1</draft><tool_call>")
    assert "120" not in t.replies[0]


def test_views_change_with_the_magnifier(hand):
    hand.draw([(101, 203, 155, 259)])
    [views] = hand.views()
    assert list(views) == ["in the image", "bicubic"] and views["bicubic"].size <= (128, 128)
    hand.network.value = "none"
    assert "none, 64×64 px" in hand.panel.value and hand.error is None


def test_an_image_of_ones_own(hand, tmp_path):
    hand.upload("mine.png", content())
    hand.question.value = QUESTION
    hand.both.click()
    t = hand.trajectory
    assert t.size == (300, 200) and t.sample.question == QUESTION and t.sample.answer == ""
    assert 'truth</th><td dir="auto">–' in hand.panel.value and "result" not in hand.panel.value
    assert "knows no photos" in said(hand)
    (tmp_path / "b.jpg").write_bytes(content((50, 400), "JPEG"))
    hand.path.value = str(tmp_path / "b.jpg")
    assert hand.error is None and "50×400" in said(hand) and hand.trajectory is None
    (tmp_path / "b.jpg").unlink()
    hand.question.value = QUESTION
    hand.both.click()
    assert "b.jpg: no such image" in said(hand)


def test_bad_input_is_a_sentence_and_the_state_stays_good(hand):
    cases = {
        "a text file": (lambda h: h.upload("a.png", b"hello"), "a.png: not a picture"),
        "a picture cut short": (lambda h: h.upload("b.png", content()[:200]), "b.png: not a whole picture"),
        "a sliver": (lambda h: h.upload("d.png", content((3000, 10))), "3000x10 pixels; expected"),
        "no file": (lambda h: h.open("/nowhere/e.png"), "/nowhere/e.png: no such image"),
        "an empty question": (lambda h: h.ask(" "), "the question is empty"),
        "no size": (lambda h: h.draw([(5, 5, 5, 9)]), "region (5, 5, 5, 9) is reversed in an image of"),
        "twice": (lambda h: h.draw([(1, 1, 90, 90)] * 2), "is duplicate in an image of"),
        "too many": (lambda h: h.draw([(i, 1, 90, 90) for i in range(3)]), "is surplus in an image of 768x768 pixels; expected at most 2 as"),
        "not four": (lambda h: h.type("1 2 3; 4 5 6 7"), "region (1, 2, 3) is not a box in an image of"),
        "words": (lambda h: h.type("<img src=x>"), "region () is not a box in an image of"),
    }
    hand.draw([(10, 20, 110, 120)])
    before, wrong = hand.sample, []
    for name, (act, sentence) in cases.items():
        hand._try(act, hand)  # as a button or a field does
        shown = said(hand)
        fine = sentence in shown and shown.startswith('<p class="bad" role="alert">') and "Traceback" not in shown
        same = hand.regions == [(10, 20, 110, 120)] and hand.sample == before and hand.typed.value == "10 20 110 120"
        if not (fine and same and isinstance(hand.error, ValueError)):
            wrong.append((name, shown))
    assert wrong == []
    hand.draw([])
    with pytest.raises(ValueError, match="no region is drawn"):  # Python code is told as usual
        hand.look_again()
    hand.question.value = QUESTION
    hand.both.click()
    assert hand.error is None and hand.trajectory.answer == "2"


def test_a_box_of_no_size_is_a_click_or_the_beginning_of_a_drag(hand):
    hand.draw([(10, 20, 110, 120)])
    click = {"x": 5, "y": 5, "width": 0, "height": 0}
    begun = [*hand.boxes.bboxes, click]
    hand.boxes.bboxes = begun
    assert "drag to the opposite corner" in said(hand) and len(hand.regions) == 1
    assert hand.boxes.bboxes == begun  # an answer would end the drag
    hand.boxes.bboxes = [*begun[:1], click | {"width": 50, "height": 60}]
    assert hand.regions == [(10, 20, 110, 120), (5, 5, 55, 65)]
    hand.boxes.bboxes = []  # both deleted
    assert hand.regions == [] and hand.typed.value == ""


def test_an_empty_playground_asks_for_an_image_and_a_bug_names_its_kind(smoke_run, scripted, hand, monkeypatch):
    empty = Playground(smoke_run, policy=scripted([]))
    empty.question.value = "x?"
    for act in (empty.both.click, lambda: empty._try(empty.draw, [(1, 2, 3, 4)])):
        act()
        assert "there is no image yet" in said(empty)
    monkeypatch.setattr(type(hand.policy), "generate", lambda *_: 1 / 0)
    hand.both.click()
    assert "ZeroDivisionError: division by zero" in said(hand) and hand.sample


def test_the_real_policy_looks_the_same_as_in_an_evaluation(smoke_run, policy):
    from mags_kit.method.episode import Agent
    from mags_kit.method.rollout import rollout

    sample = read_samples(smoke_run.samples("test"))[0]
    hand = Playground(smoke_run, [sample], policy=policy)
    hand.take(sample.id)
    assert hand.look().replies == rollout(Agent.of(smoke_run, policy), [sample], progress=False)[0].replies
