
import nbformat
import pytest
from PIL import Image
from test_draw import Read

from mags_kit.records import Sample, Trajectory, read_json, write_json
from mags_kit.evaluation import conditions, evaluate as evaluation
from mags_kit.report import page
from mags_kit.run import open_run
from mags_kit.viz import charts, draw

BAD = "<script>alert(1)</script><img src=x onerror=alert(1)>"
STEPS = ("03_evaluation",)


class Page(Read):
    """The tags of a page with their attributes, and its text in single spaces."""

    def __init__(self, html: str):
        super().__init__(html)
        self.text = " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def from_elsewhere(self):
        """What the page would load: any source that is not in it, and any script."""
        sources = [a[name] for _, a in self.tags for name in ("src", "srcset", "data", "action") if a.get(name)]
        sources += [a["href"] for a in self.of("link")]
        return [s for s in sources if not s.startswith("data:")] + self.of("script")


def answers(verdicts: str, family: str = "count") -> list[Trajectory]:
    """A trajectory for each letter: "r" is answered right, any other wrong."""
    return [
        Trajectory(Sample(str(i), f"{i}.jpg", "How many?", "3", family), (9, 9), "test", ("",), answer="32"[v != "r"])
        for i, v in enumerate(verdicts)
    ]


def metrics(before: str, after: str | None, family: str = "count") -> dict:
    """`metrics.json` where two rounds do as the letters say, and one round answers all wrong."""
    checkpoints = {
        checkpoint: {
            name: answers(verdicts if "two" in name else "w" * len(verdicts), family) for name in conditions.CONDITIONS
        }
        for checkpoint, verdicts in (("base", before), ("trained", after))
        if verdicts
    }
    return evaluation.metrics(checkpoints)


@pytest.fixture
def run(tmp_path):
    """A finished run with hostile names wherever a run folder can hold a name that the kit did not choose."""
    run = open_run("smoke", "r", {"adapter": BAD}, tmp_path)
    write_json(run.metrics, metrics("w" * 20, "r" * 15 + "w" * 5, BAD))
    skipped = [{"row": f"{BAD}.jsonl, row 3", "image": f"{BAD}.jpg", "reason": f"no picture: {BAD}"}]
    run.note("own data", used=7, skipped=skipped)
    draw.save(Image.new("RGB", (40, 30)), run, "01_candidates", f"Candidates: {BAD}")
    draw.save(charts.show_groups({"a": [50.0]}, "x", "t"), run, "05_seeds", "A dot per seed.")
    Image.new("RGB", (40, 30)).save(run.figures / "<img src=x onerror=alert(1)>.png")
    cell = nbformat.v4.new_code_cell("print(reply)", outputs=[nbformat.v4.new_output("stream", text=BAD)])
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "text/plain": f"VBox({BAD})"}
    shown = nbformat.v4.new_code_cell("widget", outputs=[nbformat.v4.new_output("display_data", widget)])
    notebook = nbformat.v4.new_notebook(cells=[cell, shown])
    state = {"state": {"m": {"model_name": BAD}}, "version_major": 2, "version_minor": 0}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    run.notebooks.mkdir()
    nbformat.write(notebook, run.notebooks / f"{STEPS[0]}.ipynb")
    return run


def read(run) -> Page:
    return Page(page.write(run, STEPS).read_text())


def test_the_first_sentence_says_what_was_found():
    cases = [
        ("w" * 30, "r" * 30, "With RL, two rounds with super-resolution answer 100.0% of 30 held-out questions "
         "correctly, 100.0 points more than the base (95% interval 88.6 to 100.0)."),
        ("r" * 20 + "w" * 20, "r" * 40, "50.0 points more than the base (95% interval 33.8 to 66.2)."),
        ("r" * 40, "r" * 20 + "w" * 20, "50.0 points fewer than the base (95% interval 33.8 to 66.2)."),
        ("rwrwrwww", "wrwrwrww", "37.5% of 8 held-out questions correctly, and the base 37.5%: the difference is not "
         "significant (95% interval −77.4 to +77.4 points, p = 1)."),
        ("wwwr", "rrrr", "100.0% of 4 held-out questions correctly, and the base 25.0%: the difference is not "
         "significant (95% interval −4.6 to +100.0 points, p = 0.25)."),
        ("rw", "rw", "50.0% of 2 held-out questions correctly, the same ones as the base."),
        ("r" * 20 + "w" * 20, None, "Without RL, two rounds with super-resolution answer 50.0% of 40 held-out "
         "questions correctly, 50.0 points more than one round with the full view (95% interval 33.8 to 66.2)."),
        ("ww", None, "0.0% of 2 held-out questions correctly, the same ones as one round with the full view."),
    ]  # fmt: skip
    found = [page.finding(metrics(before, after)) for before, after, _ in cases]
    assert [text for text, (*_, said) in zip(found, cases, strict=True) if not text.endswith(said)] == []


def test_the_page_opens_with_the_finding_and_then_what_it_is_about(run):
    text = read(run).text
    finding = "With RL, two rounds with super-resolution answer 75.0% of 20 held-out questions correctly, 75.0 points"
    assert f"Mags-RL · run “r” · profile smoke {finding}" in text
    assert text.index(finding) < text.index("The policy is ") < text.index("95% interval, clustered by image")
    assert "seed 0" in text and "torch 2." in text and "mirror –" in text


def test_figures_have_a_number_their_caption_and_the_size_of_the_page(run):
    made = read(run)
    captions = [f"Candidates: {BAD}", "A dot per seed.", "<img src=x onerror=alert(1)>"]  # none: the file's name
    assert [image["alt"] for image in made.of("img")] == captions
    assert all(image["src"].startswith("data:image/png;base64,") for image in made.of("img"))
    assert all(f"Figure {i}. {caption}" in made.text for i, caption in enumerate(captions, 1))
    small, chart, _ = made.of("img")
    assert (small["width"], small["height"]) == ("40", "30") and 700 < int(chart["width"]) < 1000  # of twice as many


def test_the_page_and_its_notebooks_need_nothing_from_elsewhere(run):
    made = read(run)
    notebook = Page(run.notebooks.joinpath(f"{STEPS[0]}.html").read_text())
    for html in (made, notebook):
        assert html.from_elsewhere() == []
        assert {a.get("http-equiv"): a["content"] for a in html.of("meta") if "content" in a}[
            "Content-Security-Policy"
        ].startswith("default-src 'none'")
    links = [a["href"] for a in made.of("a") if not a["href"].startswith("#")]
    assert links == ["notebooks/03_evaluation.html"] and "They are not part of a copy that was mailed" in made.text
    assert {a["href"][1:] for a in made.of("a")} - {links[0][1:]} <= {a.get("id") for _, a in made.tags}


def test_no_name_and_no_reply_becomes_markup(run):
    made = read(run)
    notebook = Page(run.notebooks.joinpath(f"{STEPS[0]}.html").read_text())
    for html in (made, notebook):
        assert not any(name.startswith("on") for _, attributes in html.tags for name in attributes)
        assert not html.of("script") and not [image for image in html.of("img") if image["src"] == "x"]
    assert f"{BAD}.jsonl, row 3 ({BAD}.jpg): no picture: {BAD}" in made.text and f"adapter {BAD}" in made.text
    assert f"{BAD} 20 0.0 (0 to 16)" in made.text  # its family of questions
    assert BAD in notebook.text and f"VBox({BAD})" in notebook.text


def test_rows_left_out_are_named_and_counted(run):
    text = read(run).text
    assert "7 rows used, 1 left out." in text
    manifest = read_json(run.manifest)
    manifest["steps"]["own data"]["skipped"] = []
    write_json(run.manifest, manifest)
    assert "left out" not in read(run).text


def test_a_page_too_large_to_mail_says_so(run, monkeypatch):
    assert "This page is one file of 0.0 MB, with all its pictures." in read(run).text
    monkeypatch.setattr(page, "LARGE", 1e-6)
    assert "with all its pictures: more than many mail servers take (about 1e-06 MB)." in read(run).text
