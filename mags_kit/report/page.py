"""`report.html`: the results of a run on one page that needs no other file and no network; its notebooks beside it."""

import base64
import io
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from mags_kit.records import read_json, write_text
from mags_kit.evaluation import claims, tables
from mags_kit.evaluation.evaluate import MAIN, ONE
from mags_kit.run import Run
from mags_kit.viz import draw

HERE = Path(__file__).parent


def write(run: Run, steps: tuple[str, ...]) -> Path:
    """Write the page of a run, and its executed notebooks `steps`, of which there may be none, as HTML beside it.

    The template escapes all it is given, and the page forbids scripts and requests.
    """
    write_notebooks(run, steps)
    metrics, manifest = read_json(run.metrics), read_json(run.manifest)
    versions = manifest["environment"].pop("versions", {})
    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    page = Environment(loader=FileSystemLoader(HERE), **options).get_template("page.html.j2").render(
        name=run.path.name, profile=manifest["profile"], finding=finding(metrics), about=run.scope, kept=kept(run),
        published=claims.compare(run) if run.config.pool else None,  # a model alone has no published number
        accuracy=tables.accuracy_table(metrics), families=tables.family_table(metrics), main=MAIN,
        differences=tables.difference_table(metrics), left_out=left_out(manifest), figures=figures(run.figures),
        steps=steps, settings=read_json(run.path / "config.json"), versions=versions | manifest["environment"],
    )  # fmt: skip
    write_text(run.report, page)
    return run.report


def finding(metrics: dict) -> str:
    """One sentence: accuracy of two rounds of the trained policy, less the base's (without training: of one round)."""
    conditions = metrics["conditions"]
    trained, alone = "trained" in conditions, "alone" in conditions
    other = "the base" if trained else "one round with the full view"
    d = metrics["differences"][f"{MAIN}: trained, less base" if trained else f"{MAIN}, less {ONE}"]
    first = conditions["alone" if alone else "base"]
    ours, theirs = (conditions["trained"] if trained else first)[MAIN], first[MAIN if trained else ONE]
    who, what = ("With" if trained else "Without") + " RL, two rounds", "held-out questions"
    if alone:  # an adapter that it came with may be RL's, and the questions may be what it learnt from
        who, what = "Two rounds", "questions"
    said = f"{who} with super-resolution answer {100 * ours['accuracy']:.1f}% of {d['n']} {what} correctly"
    if d.get("discordant") == 0:
        return f"{said}, the same ones as {other}."
    # on few questions the interval and the exact test may disagree
    significant = "not significant" if d["low"] <= 0 <= d["high"] or d["p"] > 0.05 else "significant"
    points, low, high = (f"{100 * d[name]:+.1f}".replace("-", "−") for name in ("difference", "low", "high"))
    return (
        f"{said}, and {other} {100 * theirs['accuracy']:.1f}%: a difference of {points} points "
        f"({significant}; 95% interval {low} to {high}, p = {d['p']:.2g})."
    )


def kept(run: Run) -> str:
    """Which checkpoint “trained” is."""
    if not run.best.joinpath("chosen.json").exists():
        return ""
    if step := read_json(run.best / "chosen.json")["step"]:
        of = sum(run.config.stage_steps)
        return f"“Trained” is the checkpoint of step {step} of {of}, the best on the validation questions."
    return "No checkpoint was better than the base on the validation questions: “trained” is the base itself."


def figures(folder: Path) -> list[dict]:
    """The pictures of a folder by name: `source` (a data URI), `width` and `height` in pixels of the page, `caption`
    (as `draw.save` writes it; without one, the file's name)."""
    pictures = []
    for path in sorted(folder.glob("*.png")):
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            scale = draw.DPI / image.info.get("dpi", (draw.DPI,))[0]
            width, height = (round(side * scale) for side in image.size)
            caption = image.info.get("Description", path.stem)
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        pictures.append({"source": source, "width": width, "height": height, "caption": caption})
    return pictures


def left_out(manifest: dict) -> dict:
    """How many rows of the data were used, and a line for each that could not be, with its reason."""
    read = [manifest["steps"].get(name, {}) for name in ("own data", "own training data", "benchmarks")]
    skipped = [row for facts in read for row in facts.get("skipped", [])]
    rows = [f"{row['row']} ({row['image']}): {row['reason']}" for row in skipped]
    return {"used": sum(facts.get("used", 0) for facts in read), "rows": rows}


def write_notebooks(run: Run, steps: tuple[str, ...]) -> None:
    """The executed notebooks as HTML that runs no script and asks the network for nothing.

    So formulas stay as they were typed, and a widget is a line that says where to see it. Progress bars are left out.
    """
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()
    exporter.raw_template = HERE.joinpath("notebook.html.j2").read_text()
    for step in steps:
        notebook = nbformat.read(run.notebooks / f"{step}.ipynb", as_version=4)
        notebook.metadata.pop("widgets", None)
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # progress, warnings
            for data in (output.get("data", {}) for output in cell.outputs):
                if data.pop("application/vnd.jupyter.widget-view+json", None):
                    data["text/plain"] = "a widget: `make lab` and `make inspect` show it"
        notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", ())]
        body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": step}})
        write_text(run.notebooks / f"{step}.html", body)
