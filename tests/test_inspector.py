import re
import xml.etree.ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import pytest
from PIL import Image
from test_evaluation import batch
from test_records import make_trajectory

from mags_kit.method.protocol import tool_call_text
from mags_kit.records import Region
from mags_kit.viz import figures, painting
from mags_kit.viz.inspector import Inspector

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> $\\frac{1}{2}$ </pre> 象 & \"'"


class Read(HTMLParser):
    """Tags with attributes, and the text."""

    def __init__(self, value):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(value)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def folder(tmp_path):
    for name in "a0123":
        Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / f"{name}.jpg")
    return tmp_path


@pytest.fixture
def inspector(folder):
    after = batch(["3", "1", "3", "1"], ["1", "3", "3", "2"])  # repaired, broke, kept right, kept wrong
    return Inspector({"before RL": batch(["1"]), "after RL": after}, folder)


def test_next_previous_and_jump(inspector):
    inspector.on.click()
    assert inspector.current.sample.id == "s1" and inspector.number.value == 2
    inspector.back.click()
    inspector.back.click()
    assert inspector.current.sample.id == "s3" and "4 of 4: s3, after RL" in Read(inspector.label.value).text
    inspector.number.value = 3  # as a user types it
    assert inspector.current.sample.id == "s2" and inspector.slide.value == 3
    inspector.slide.value = 2  # as the mouse does, or the arrow keys
    assert inspector.current.sample.id == "s1" and inspector.number.value == 2
    inspector.keep(second_look="broke")
    assert inspector.slide.layout.visibility == "hidden"
    inspector.keep(second_look="all")
    inspector.find("s0")
    assert inspector.number.value == 1


def test_filters_order_and_word(inspector):
    inspector.filters["answer"].value = "wrong"  # as a user does
    assert [t.sample.id for t in inspector.browser.next(9)] == ["s1", "s3"]
    assert dict(map(reversed, inspector.filters["second look"].options))["repaired"] == "repaired (1)"
    inspector.keep(answer="all")
    assert inspector.filters["answer"].value == "all"
    inspector.order.value = "sample id"
    inspector.word.value = "nowhere"
    assert inspector.current is None and "none is like that" in inspector.label.value and not inspector.panel.value
    inspector.on.click()
    with pytest.raises(ValueError, match="no trajectory is shown"):
        inspector.figure()
    inspector.word.value = ""
    assert inspector.current.sample.id == "s0"


def test_before_and_after_stand_side_by_side(inspector):
    made = Read(inspector.panel.value)
    assert [tag for tag, _ in made.tags].count("section") == 2 and "before RL" in made.text and "after RL" in made.text
    inspector.both.value = False
    assert Read(inspector.panel.value).text.count("round 1") == 1
    inspector.on.click()  # s1 has no before
    inspector.both.value = True
    assert Read(inspector.panel.value).text.count("round 1") == 1


def test_pictures_have_a_text_alternative_and_numbers_their_region(inspector):
    made = Read(inspector.panel.value)
    pictures = [attributes for tag, attributes in made.tags if tag == "img"]
    assert len(pictures) == 6 and all(a["src"].startswith("data:image/jpeg;base64,") for a in pictures)
    assert pictures[0]["alt"] == "The image. region 1 ok at 1, 2, 30, 40"
    assert pictures[2]["alt"] == "Region 1 magnified by bicubic"


def test_boxes_in_the_reply_have_the_colours_of_the_image():
    made = painting.reply(f"<draft>[1]</draft>{tool_call_text([(1, 2, 3, 4), (5, 6, 7, 8)])}", 2)
    spans = re.findall(r'background:(#\w+)">(\[.*?\])<', made)
    assert spans == [(painting.colour(0), "[1, 2, 3, 4]"), (painting.colour(1), "[5, 6, 7, 8]")]
    assert len(set(painting.PALETTE)) == len(painting.PALETTE)


@pytest.mark.parametrize(
    "make", [painting.reply, lambda t: painting.page(question=t), painting.sentence], ids=["reply", "page", "sentence"]
)
def test_text_stays_text(make):
    made = Read(make(HOSTILE))
    assert HOSTILE in made.text
    assert {tag for tag, _ in made.tags} <= {"pre", "style", "div", "p", "b"}


def test_a_hostile_trajectory_is_shown_and_drawn_as_text(folder):
    sample = replace(make_trajectory().sample, id=HOSTILE, question=HOSTILE, family=HOSTILE, answer=HOSTILE)
    bad = make_trajectory(
        sample=sample, replies=(HOSTILE * 40 + tool_call_text([(HOSTILE,)]), f"<rethink>{HOSTILE}</rethink>"),
        draft=HOSTILE, answer=HOSTILE, magnifier="bicubic", regions=(Region((-9, 400, 5, 3), "reversed"),), views=(),
    )  # fmt: skip
    inspector = Inspector({"a": [bad], "b": [make_trajectory()]}, folder)
    inspector.keep(stage="a")
    for value in (inspector.panel.value, inspector.label.value):
        made = Read(value)
        assert HOSTILE in made.text and "script" not in {tag for tag, _ in made.tags}
        assert not [name for _, attributes in made.tags for name in attributes if name.startswith("on")]
        assert "mathjax_ignore" in value and "tex2jax_ignore" in value
    figure = inspector.figure()
    assert figures.content(figure, "png").startswith(b"\x89PNG")
    plt.close(figure)


@pytest.mark.parametrize("count", [1, 3])
def test_the_static_twin_is_written_as_png_and_svg(inspector, count, tmp_path):
    assert inspector.save(tmp_path / "a.png", count).read_bytes().startswith(b"\x89PNG")
    xml.etree.ElementTree.parse(inspector.save(tmp_path / "a.svg", count))
    with pytest.raises(ValueError, match="a figure cannot be written as 'txt'; expected one of"):
        inspector.save(tmp_path / "a.txt")
    plt.close("all")


def test_the_twin_shows_what_the_widget_shows(inspector):
    figure = inspector.figure()
    texts = [text.get_text() for text in figure.findobj(plt.Text)]
    assert any("before RL" in text for text in texts) and any("after RL" in text for text in texts)
    assert any("draft: 1   answer: 3   truth: 3" in text for text in texts)
    plt.close(figure)


def test_an_image_that_is_gone_is_a_sentence(inspector, folder):
    (folder / "1.jpg").unlink()
    inspector.on.click()
    assert "no such image" in Read(inspector.panel.value).text and inspector.current.sample.id == "s1"
    Image.new("RGB", (640, 480)).save(folder / "1.jpg")
    inspector.back.click()
    inspector.on.click()
    assert "no such image" not in Read(inspector.panel.value).text
