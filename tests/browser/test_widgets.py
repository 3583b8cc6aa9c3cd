"""The widgets as a person uses them, with mouse and keyboard, in JupyterLab and in Voilà's page."""

import io
import re

import pytest
from PIL import Image

pytest.importorskip("playwright")
from conftest import HOSTILE, PICTURES
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SECONDS = 1000
expect.set_options(timeout=150 * SECONDS)


@pytest.fixture(params=["voila", "lab"])
def opened(request, page: Page):
    """The page with both widgets, and the name of what shows it."""
    page.set_default_timeout(120 * SECONDS)
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.elsewhere = []
    here = re.compile(r"(http|ws)://127|data:|blob:")
    page.on("response", lambda r: None if here.match(r.url) else page.elsewhere.append(r.url))
    page.goto(request.getfixturevalue(request.param))
    if request.param == "lab":
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.locator(".mags-inspector img").first.wait_for()
    page.locator(".mags-playground input").first.wait_for(state="attached")
    page.wait_for_timeout(1000)  # the widgets' places settle
    page.place = request.param
    return page


def shot(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{page.place}-{name}.png")


def field(page: Page, within: str, label: str):
    """The input, or list, with that label."""
    return page.locator(f".mags-{within}").get_by_label(label, exact=True)


def test_the_inspector_steps_jumps_and_filters_and_a_hostile_reply_stays_text(opened):
    page, inspector = opened, opened.locator(".mags-inspector")
    shot(page, "1-open")
    expect(inspector).to_contain_text("1 of 12: test-00000, trained")
    inspector.get_by_role("button", name="next").click()
    expect(inspector).to_contain_text("2 of 12: test-00001")
    reply = inspector.locator("pre").filter(has_text="window.taken")
    expect(reply).to_have_count(1)
    page.wait_for_timeout(1500)  # what would be typeset or run needs a moment
    assert HOSTILE in reply.inner_text() and page.evaluate("window.taken") is None
    assert inspector.locator(":is(mjx-container, .MathJax, script)").count() == 0
    number = page.locator(".mags-inspector .widget-readout")
    number.fill("9")
    number.press("Enter")
    expect(inspector).to_contain_text("9 of 12: test-00008")
    field(page, "inspector", "family").select_option(index=1)
    expect(inspector).to_contain_text(re.compile(r"1 of [3-5]: test-"))


def test_a_region_is_drawn_resized_and_looked_at(opened):
    page, ground = opened, opened.locator(".mags-playground")

    def drag(start, end) -> None:
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=6)
        page.mouse.up()

    field(page, "playground", "sample").select_option(index=1)
    expect(ground).to_contain_text("an image of 768×768 pixels")
    image = page.locator(".mags-boxes img")
    image.evaluate("image => image.decode()")
    image.scroll_into_view_if_needed()
    place = image.bounding_box()

    def at(x, y):
        return place["x"] + x * place["width"], place["y"] + y * place["height"]

    drag(at(0.3, 0.3), at(0.45, 0.4))
    typed = field(page, "playground", "regions")
    expect(typed, "the mouse drew nothing").not_to_have_value("", timeout=20 * SECONDS)
    first = typed.input_value().split()
    assert [round(int(v) / 768, 2) for v in first] == pytest.approx([0.3, 0.3, 0.45, 0.4], abs=0.02)
    expect(ground.locator(".mags-views img")).to_have_count(2)
    shot(page, "2-drawn")
    drag(at(0.45, 0.4), at(0.55, 0.5))
    expect(typed).not_to_have_value(" ".join(first))
    second = typed.input_value().split()
    assert second[:2] == first[:2] and int(second[2]) > int(first[2]) and int(second[3]) > int(first[3])
    ground.get_by_role("button", name="second look at my regions").click()
    expect(ground).to_contain_text(re.compile(r"looked in [\d.]+ s"))
    expect(ground.locator("table th").filter(has_text="answer")).to_have_count(1)
    assert typed.input_value().split() == second
    field(page, "playground", "magnifier").select_option("bicubic")
    expect(ground.locator(".mags-views")).to_contain_text("bicubic, ")
    shot(page, "3-second-look")
    page.mouse.click(*at(0.8, 0.8))
    expect(ground).to_contain_text("drag to the opposite corner")
    assert typed.input_value().split() == second


def test_an_uploaded_image_is_asked_about(opened):
    page, ground = opened, opened.locator(".mags-playground")
    out = io.BytesIO()
    Image.effect_noise((900, 600), 90).convert("RGB").save(out, "JPEG")
    with page.expect_file_chooser() as chooser:
        page.locator(".mags-playground .widget-upload").click()
    chooser.value.set_files({"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()})
    expect(ground).to_contain_text("an image of 900×600 pixels")
    question = field(page, "playground", "question")
    question.fill("How many dots are on the red disc?")
    question.press("Enter")
    ground.get_by_role("button", name="look in two rounds").click()
    expect(ground).to_contain_text(re.compile(r"looked in [\d.]+ s"))
    expect(ground.locator("table th").filter(has_text="answer")).to_have_count(1)
    if page.place == "voila":
        assert not page.elsewhere
        page.set_viewport_size({"width": 400, "height": 1000})
        page.wait_for_timeout(500)
        shot(page, "4-narrow")
        for shown in (".mags-inspector", ".mags-playground"):
            assert page.locator(shown).evaluate("e => e.scrollWidth <= e.clientWidth + 1"), shown


def test_the_playground_opens_with_the_inspectors_question_and_its_image_is_zoomed(opened):
    page, ground, frame = opened, opened.locator(".mags-playground"), opened.locator(".mags-frame")
    expect(ground).to_contain_text("an image of 768×768 pixels")
    asked = field(page, "playground", "question")
    expect(asked).to_have_value(page.locator(".mags-inspector b").inner_text())
    page.locator(".mags-inspector").get_by_role("button", name="next").click()
    ground.get_by_role("button", name="the inspector's question").click()
    expect(asked).to_have_value(page.locator(".mags-inspector b").inner_text())
    image, slider = page.locator(".mags-boxes img"), ground.get_by_label("zoom", exact=True)
    image.evaluate("image => image.decode()")
    frame.scroll_into_view_if_needed()
    width = image.bounding_box()["width"]
    frame.hover()
    page.keyboard.down("Control")
    for _ in range(4):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(100)
    page.keyboard.up("Control")
    assert image.bounding_box()["width"] == pytest.approx(2 * width, rel=0.05) and slider.input_value() == "2"
    across, down = frame.evaluate("e => [e.scrollLeft, e.scrollTop]")
    assert across > 0 and down > 0, "the place under the mouse stays"
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(500)
    assert frame.evaluate("e => e.scrollTop") > down, "the wheel alone pans"
    shot(page, "5-zoomed")
    slider.press("Home")
    assert image.bounding_box()["width"] == pytest.approx(width, rel=0.02)


def test_it_can_all_be_done_by_keyboard(opened):
    page, ground = opened, opened.locator(".mags-playground")
    expect(ground).to_contain_text("an image of 768×768 pixels")
    ground.get_by_role("button", name="look in two rounds").press("Enter")
    expect(ground).to_contain_text(re.compile(r"looked in [\d.]+ s"))
    typed = field(page, "playground", "regions")
    typed.fill("100 100 300 300")
    typed.press("Enter")
    expect(ground).to_contain_text("your regions: 1")
    page.keyboard.press("Tab")  # on to the magnifier
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    ground.get_by_role("button", name="second look at my regions").press("Enter")
    expect(ground).to_contain_text(re.compile(r"looked in [\d.]+ s"))
