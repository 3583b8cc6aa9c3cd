"""The report page: what it says, that it needs nothing from elsewhere, and that no name becomes markup."""

import nbformat
import pytest
from PIL import Image
from test_draw import Read

from mags_kit.records import Sample, Trajectory, write_json
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


def metrics(base: str, trained: str | None, family: str = "count") -> dict:
    """`metrics.json` where two rounds answer right ("r") or wrong as the letters say, and one round all wrong."""

    def answers(verdicts: str) -> list[Trajectory]:
        samples = [Sample(str(i), f"{i}.jpg", "How many?", "3", family) for i in range(len(verdicts))]
        pairs = zip(samples, verdicts, strict=True)
        return [Trajectory(s, (9, 9), "test", ("",), answer="3" if v == "r" else "2") for s, v in pairs]

    names = conditions.CONDITIONS
    return evaluation.metrics({
        checkpoint: {name: answers(letters if "two" in name else "w" * len(letters)) for name in names}
        for checkpoint, letters in (("base", base), ("trained", trained)) if letters
    })  # fmt: skip


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
    run.notebooks.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, shown]), run.notebooks / f"{STEPS[0]}.ipynb")
    return run


def test_the_first_sentence_says_what_was_found():
    cases = [
        ("r" * 20 + "w" * 20, "r" * 40, "With RL, two rounds with super-resolution answer 100.0% of 40 held-out "
         "questions correctly, and the base 50.0%: a difference of +50.0 points (significant; 95% interval "
         "+33.8 to +66.2, p = 1.9e-06)."),
        ("r" * 40, "r" * 20 + "w" * 20, "−50.0 points (significant; 95% interval −66.2 to −33.8, p = 1.9e-06)."),
        ("wwwr", "rrrr", "100.0% of 4 held-out questions correctly, and the base 25.0%: a difference of "
         "+75.0 points (not significant; 95% interval −4.6 to +100.0, p = 0.25)."),
        ("rw", "rw", "50.0% of 2 held-out questions correctly, the same ones as the base."),
        ("ww", None, "Without RL, two rounds with super-resolution answer 0.0% of 2 held-out questions correctly, the "
         "same ones as one round with the full view."),
    ]  # fmt: skip
    found = [page.finding(metrics(before, after)) for before, after, _ in cases]
    assert [text for text, (*_, said) in zip(found, cases, strict=True) if not text.endswith(said)] == []


def test_the_page_holds_all_that_was_found(run):
    made = Page(page.write(run, STEPS).read_text())
    finding = "With RL, two rounds with super-resolution answer 75.0% of 20 held-out questions correctly, and the base"
    assert f"Mags-RL · run “r” · profile smoke {finding}" in made.text
    assert made.text.index(finding) < made.text.index("The policy is ") < made.text.index("95% interval, clustered by")
    assert "seed 0" in made.text and "torch 2." in made.text and "7 rows used, 1 left out." in made.text
    captions = [f"Candidates: {BAD}", "A dot per seed.", "<img src=x onerror=alert(1)>"]  # none: the file's name
    assert [image["alt"] for image in made.of("img")] == captions
    assert all(f"Figure {i}. {caption}" in made.text for i, caption in enumerate(captions, 1))
    small, chart, _ = made.of("img")
    assert (small["width"], small["height"]) == ("40", "30") and 700 < int(chart["width"]) < 1000  # of twice as many
    links = [a["href"] for a in made.of("a") if not a["href"].startswith("#")]
    assert links == ["notebooks/03_evaluation.html"]
    assert {a["href"][1:] for a in made.of("a")} - {links[0][1:]} <= {a.get("id") for _, a in made.tags}


def test_the_page_says_which_checkpoint_trained_is(run):
    write_json(run.best / "chosen.json", {"step": 2})
    assert "“Trained” is the checkpoint of step 2 of 2, the best on the validation" in page.write(run, ()).read_text()
    write_json(run.best / "chosen.json", {"step": 0})
    assert "No checkpoint was better than the base" in page.write(run, ()).read_text()


def test_no_name_and_no_reply_becomes_markup_and_nothing_comes_from_elsewhere(run):
    made = Page(page.write(run, STEPS).read_text())
    notebook = Page(run.notebooks.joinpath(f"{STEPS[0]}.html").read_text())
    for html in (made, notebook):
        assert not any(name.startswith("on") for _, attributes in html.tags for name in attributes)
        sources = [a[name] for _, a in html.tags for name in ("src", "srcset", "data", "action") if a.get(name)]
        sources += [a["href"] for a in html.of("link")]
        assert not html.of("script") and all(source.startswith("data:") for source in sources)
        policies = {a.get("http-equiv"): a["content"] for a in html.of("meta") if "content" in a}
        assert policies["Content-Security-Policy"].startswith("default-src 'none'")
    assert f"{BAD}.jsonl, row 3 ({BAD}.jpg): no picture: {BAD}" in made.text and f"adapter {BAD}" in made.text
    assert f"{BAD} 20 0.0 (0 to 16)" in made.text  # its family of questions
    assert BAD in notebook.text and "a widget: `make lab` and `make inspect` show it" in notebook.text
