"""Trajectories as HTML and as pictures: hostile text stays text, and pictures show what they should."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from test_records import make_trajectory

from mags_kit.method.episode import Agent
from mags_kit.method.protocol import tool_call_text
from mags_kit.method.rollout import rollout
from mags_kit.records import Region, View, read_samples
from mags_kit.run import open_run
from mags_kit.viz import charts, draw

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> $\\frac{1}{2}$ </pre> 象 & \"'"


class Read(HTMLParser):
    """Tags with attributes, and the text without style sheets."""

    def __init__(self, value):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], ""
        self.feed(value)
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts += [data] * (self.inside != "style")


def check_harmless(value: str) -> Read:
    """Read HTML and check that it runs nothing and typesets nothing."""
    made = Read(value)
    assert "script" not in {tag for tag, _ in made.tags}
    assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
    assert "mathjax_ignore" in value and "tex2jax_ignore" in value
    return made


def hostile():
    """A trajectory with hostile text wherever a model or a file may put text, and a reversed region."""
    texts = dict.fromkeys(("id", "question", "family", "answer"), HOSTILE)
    replies = HOSTILE * 40 + tool_call_text([(HOSTILE,)]), f"<rethink>{HOSTILE}</rethink>"
    return make_trajectory(
        sample=replace(make_trajectory().sample, image="0.jpg", **texts), replies=replies, draft=HOSTILE,
        answer=HOSTILE, verdict=HOSTILE, magnifier="bicubic", regions=(Region((-9, 400, 5, 3), "reversed"),), views=(),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name in "a0123":
        Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / f"{name}.jpg")
    return tmp_path


def colours_in(picture) -> set:
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return {f"#{r:02X}{g:02X}{b:02X}" for r, g, b in np.unique(pixels, axis=0)}


def test_hostile_text_stays_text_in_html_and_in_the_sheet(folder):
    made = check_harmless(draw.show(hostile(), folder).data)
    assert HOSTILE in made.text and made.text.count(HOSTILE) > 40
    assert draw.sheet({HOSTILE: hostile()}, folder).width > 1000
    for text in (draw.page(question=HOSTILE), draw.error(HOSTILE)):
        made = Read(text)
        assert HOSTILE in made.text and {tag for tag, _ in made.tags} <= {"style", "div", "p", "b"}


def test_facts_show_verification_and_verdict_under_their_own_names():
    second = "<rethink>the view shows 3</rethink><verdict>wrong</verdict><answer>3</answer>"
    t = make_trajectory(replies=("<draft>1</draft>", second), draft="1", verdict="wrong", answer="3")
    rows = draw.facts(t)
    assert rows["verification"] == "the view shows 3" and rows["verdict"] == "wrong" and rows["draft"] == "1"
    assert rows["result"] == "right (repaired)"
    rows = draw.facts(replace(t, verdict=None, replies=t.replies[:1]))
    assert (rows["verification"], rows["verdict"]) == ("–", "–")


def test_the_parts_of_a_reply_are_underlined_and_its_text_is_unchanged():
    reply = f"<think>a < b {HOSTILE}</think>\n<draft>3</draft>{tool_call_text([(1, 2, 3, 4)])} <answer>never closed"
    made = Read(draw.coloured(reply))
    marks = [attributes["style"] for tag, attributes in made.tags if tag == "span"]
    assert made.text == reply and {tag for tag, _ in made.tags} == {"span"} and len(set(marks)) == 3


def test_a_conversation_shows_prompt_replies_and_the_tools_answer(smoke_run, scripted):
    sample = replace(read_samples(smoke_run.samples("test"))[0], question=f"What is on the disc? {HOSTILE}")
    first = f"<think>the disc</think><draft>1</draft>{tool_call_text([(120, 120, 320, 320)])}"
    agent = Agent.of(smoke_run, scripted([[first], ["<answer>2</answer>"]]), "bicubic")
    made = check_harmless(draw.conversation(agent, rollout(agent, [sample], progress=False)[0]).data)
    order = ("the prompt", f"{HOSTILE} Look twice.", "reply, round 1", "<draft>1</draft>", "the tool", "round 2")
    places = [made.text.index(each) for each in (*order, "<answer>2</answer>")]
    assert places == sorted(places) and [tag for tag, _ in made.tags].count("img") == 2
    none = Agent.of(smoke_run, scripted([[tool_call_text([(320, 320, 120, 120)])], ["<answer>2</answer>"]]), "bicubic")
    assert "no view" in draw.conversation(none, rollout(none, [sample], progress=False)[0]).data


def test_a_sheet_shows_regions_views_and_targets(folder):
    regions = Region((300, 200, 400, 300), "ok"), Region((10, 10, 90, 90), "surplus"), Region((100, 20, 180, 90), "ok")
    views = View((300, 200, 400, 300), (128, 128)), View((100, 20, 180, 90), (128, 112))
    t = make_trajectory(regions=regions, views=views, magnifier="bicubic")
    t = replace(t, sample=replace(t.sample, image="0.jpg", boxes=((320, 220, 360, 260),)))
    image = Image.open(folder / "0.jpg")
    assert list(draw.magnified(t, image)) == [0, 2]
    marked = draw.annotated(image, regions, t.sample.boxes)
    assert {draw.colour(0), draw.colour(1), draw.colour(2), "#000000"} <= colours_in(marked)
    one, two = draw.sheet({"": t}, folder), draw.sheet({"base": t, "trained": t}, folder)
    assert two.width == one.width and two.height > 2 * one.height
    assert draw.strip([("a", t), ("b", t)], folder).width < one.width
    assert draw.show_samples([t.sample] * 4, folder).size[0] == 3 * draw.SIDE + 2 * draw.GAP
    pictures = [attributes for tag, attributes in Read(draw.show(t, folder).data).tags if tag == "img"]
    assert len(pictures) == 5 and all(a["src"].startswith("data:image/jpeg;base64,") for a in pictures)
    assert pictures[0]["alt"].startswith("The image. region 1 ok at 300, 200, 400, 300; region 2 surplus at")
    assert pictures[2]["alt"] == "Region 1, magnified by bicubic"


def test_figures_are_saved_with_their_caption_and_shown(tmp_path):
    run = open_run("smoke", "r", root=tmp_path)
    caption = "A caption — with “quotes” and 象"
    figures = {"chart": charts.show_groups({"a": [50.0]}, "x", "t"), "sheet": Image.new("RGB", (300, 20))}
    for name, figure in figures.items():
        shown = draw.save(figure, run, name, caption)
        with Image.open(run.figures / f"{name}.png") as saved:
            assert saved.info["Description"] == caption and shown.alt == caption
            assert shown.width == (300 if name == "sheet" else round(saved.width / 2))
