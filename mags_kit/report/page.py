"""`report.html`: what a run found, on one page that needs no other file and no network; its notebooks lie beside it."""

import base64
import io
from fnmatch import fnmatch
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from mags_kit.records import read_json, write_text
from mags_kit.evaluation import tables
from mags_kit.evaluation.evaluate import MAIN, ONE
from mags_kit.run import Run

HERE = Path(__file__).parent
LARGE = 10  # MB; what many mail servers refuse
CURVES = (
    "above, the parts of the reward, and where the policy looks; below, how much the groups leave to learn from, and "
    "accuracy on validation questions"
)
# Pattern of a figure file's stem -> what kind of picture it is (alternative text), what to see in it (caption).
# {} is the number that ends the stem. True whatever a run finds.
CAPTIONS = {
    "00_base_training": (
        "Line charts of the base's training, a column for each phase: loss above, share of targets right below.",
        "Training of the embedded base, a column for each phase. Above, the loss; below, how much of each target one "
        "batch gets right: see which skills are learnt, and which stay where they were.",
    ),
    "01_candidates": (
        "Six images, each under its question and answer.",
        "Candidates: what is asked, and what there is to see. A dashed box marks what a question is about, where the "
        "data say it; the boxes serve measuring only, and training never sees them.",
    ),
    "01_why_look_twice": (
        "Three rows of three pictures: a whole image, its target as the image shows it, and the target magnified.",
        "Why a second look may help. From left to right: the image as round 1 sees it, the target at that resolution, "
        "and the same magnified from the original pixels; see how much of the asked detail each of them holds.",
    ),
    "01_pool_and_choice": (
        "Bar charts, one for each family of questions: candidates by solve rate, and the chosen ones among them.",
        "How often the base solves each candidate (grey), and which are chosen to train on (blue). Those that it never "
        "or always solves, at both ends, teach GRPO nothing, and are taken only where others are too few.",
    ),
    "02_training": (
        f"Four line charts over optimisation steps: {CURVES}.",
        f"Training: {CURVES}, which it never trains on; dotted lines part the stages. See whether accuracy follows the "
        "reward, which alone can also come from learning the samples by heart; and whether enough groups hold both "
        "right and wrong answers, since in the others form alone decides what is learnt.",
    ),
    "03_accuracy": (
        "Bar chart: accuracy of each way of looking, with 95% intervals; the table “Accuracy” holds the numbers.",
        "Accuracy on the held-out questions for each way of looking, with its 95% interval. Compare the two colours "
        "in a row for what RL changed, and the rows for what a second look and its magnifier changed.",
    ),
    "03_needed": (
        "Stacked bars, one for each magnifier: questions by whether the view was needed to answer them.",
        "Was the view needed? Green: right with the view only, wrong at once and with a blank view. Blue: right "
        "without it as well. Red: right at once, wrong after looking. See how much of what is solved is green.",
    ),
    "03_worth": (
        "Points with 95% intervals: the glass by the source's quality, the second round by size, RL by density.",
        "When each part pays. Left, small things only: what each magnifier makes of sharp, soft and poor sources. "
        "Middle: one and two rounds, by whether the first view is enough. Right: before and after RL, by how much lies "
        "about.",
    ),
    "03_qualities": (
        "The same small card in a sharp, a soft and a poor source, by each magnifier, and as it was drawn.",
        "What the glass is up against: the same card as a camera leaves it, and what each magnifier makes of it. See "
        "what comes back, and what does not.",
    ),
    "03_where": (
        "Points with 95% intervals: two rounds less one, a row for each class of questions.",
        "Where the second look helps: what two rounds answer more than one, by class of questions; hollow where so few "
        "questions tell nothing. See whether small targets gain more than large ones.",
    ),
    "03_costs": (
        "Scatter chart of accuracy against tokens of a question, a numbered dot for each way to answer.",
        "Accuracy against cost: tokens written and seen for a question. Blue: two rounds with the region asked for; "
        "orange: one round; grey: controls. See which ways are both dearer and worse than another.",
    ),
    "04_regions": (
        "A histogram of the sizes of the chosen regions, and scatter charts of where their centres lie.",
        "Where the policy looks. Left, how large its regions are, as a share of the image (logarithmic); right, where "
        "their centres lie: see how closely it looks, and whether it looks at different places.",
    ),
    "accuracy": (
        "Bar chart: accuracy of each way of looking, with 95% intervals; the table “Accuracy” holds the numbers.",
        "Accuracy for each way of looking, with its 95% interval. Compare the rows for what a second look and its "
        "magnifier change.",
    ),
    "*trajectory_*": (
        "Trajectory {}: the image with its regions, the magnified views, the replies, and the verdict.",
        "Trajectory {}, an illustration: the policy's regions (blue; red if unusable), the target (dashed if known), "
        "the magnified views, and the replies. See whether the target is in view, and whether the answer fits it.",
    ),
    "04_before_and_after": (
        "One question twice: the image with its regions, the views, and the replies, before RL above and after below.",
        "One question in the inspector, before RL (above) and after it (below): each region as the image has it, "
        "and magnified. The boxes' numbers in the replies have the colours of the regions.",
    ),
    "04_strip": (
        "Four trajectories side by side: the image with its regions above, the first view and what was said below.",
        "Four trajectories in brief: where the policy looked, its first view, its draft and its answer.",
    ),
    "04_replay": (
        "One validation question over the training: the image with its regions at each look, the reward below.",
        "Training replayed on one validation question, chosen because its reward rose the most, so an illustration: "
        "where the policy looked at each step, and its reward below.",
    ),
    "04_by_hand": (
        "One question with a region drawn by hand: the image, the region, its view, and the replies.",
        "The glass in a person's hand: the target's own box as the region, and what round 2 makes of it.",
    ),
    "05_seeds": (
        "Dot chart of accuracy: a row for before RL and for one and two rounds after it, a dot for each seed.",
        "The same with other seeds, a dot for each; the line is at their mean. See how far the dots of a row lie "
        "apart, and whether that is less than the distance between the rows.",
    ),
    "05_training_seed_*": (
        f"Four line charts over optimisation steps, seed {{}}: {CURVES}.",
        f"Training again with seed {{}}: {CURVES}. See whether the curves go where those of the first seed go.",
    ),
    "06_ablations": (
        "Dot chart of accuracy after RL: a row for each order and number of samples, a dot for each seed.",
        "Orders and numbers of samples, a dot for each seed; the line is at their mean. Rows whose dots lie among "
        "each other are not told apart by so few seeds.",
    ),
}


def write(run: Run, steps: tuple[str, ...]) -> Path:
    """Write the page of a run, and its executed notebooks `steps`, of which there may be none, as HTML beside it.

    The template escapes all it is given, and the page forbids scripts and requests.
    """
    write_notebooks(run, steps)
    metrics, manifest = read_json(run.metrics), read_json(run.manifest)
    pictures = figures(run.figures)
    environment = dict(manifest["environment"])
    loader = FileSystemLoader(HERE)
    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    page = Environment(loader=loader, **options).get_template("page.html.j2").render(
        name=run.path.name, profile=manifest["profile"], finding=finding(metrics), about=run.scope, main=MAIN,
        accuracy=tables.accuracy_table(metrics), families=tables.family_table(metrics),
        differences=tables.difference_table(metrics), left_out=left_out(manifest), figures=pictures, steps=steps,
        settings=read_json(run.path / "config.json"), versions=environment.pop("versions", {}) | environment,
        size=sum(len(picture["source"]) for picture in pictures) / 1e6, large=LARGE,
    )  # fmt: skip
    write_text(run.report, page)
    return run.report


def finding(metrics: dict) -> str:
    """One sentence, with an interval: what two rounds answer, beside before RL (without RL: beside one round)."""
    conditions = metrics["conditions"]
    trained, alone = "after" in conditions, "alone" in conditions
    other = "before" if trained else "one round with the full view"
    d = metrics["differences"][f"{MAIN}: after RL, less before" if trained else f"{MAIN}, less {ONE}"]
    first = conditions["alone" if alone else "before"]
    ours, theirs = (conditions["after"] if trained else first)[MAIN], first[MAIN if trained else ONE]
    who, what = ("With" if trained else "Without") + " RL, two rounds", "held-out questions"
    if alone:  # an adapter that it came with may be RL's, and the questions may be what it learnt from
        who, what = "Two rounds", "questions"
    said = f"{who} with super-resolution answer {100 * ours['accuracy']:.1f}% of {d['n']} {what} correctly"
    points, low, high = (100 * d[name] for name in ("difference", "low", "high"))
    if d.get("discordant") == 0:
        return f"{said}, and {other} {'the very same ones' if ours['accuracy'] else 'none either'}."
    if low <= 0 <= high or d["p"] > 0.05:  # few questions have intervals that the exact test does not bear out
        return (
            f"{said}, and {other} {100 * theirs['accuracy']:.1f}%: {d['n']} questions do not tell the two apart "
            f"(95% interval of the difference {_signed(low)} to {_signed(high)} points, p = {d['p']:.2g})."
        )
    if points < 0:
        points, low, high = -points, -high, -low
        return f"{said}, {points:.1f} points fewer than {other} (95% interval {low:.1f} to {high:.1f})."
    return f"{said}, {points:.1f} points more than {other} (95% interval {low:.1f} to {high:.1f})."


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def figures(folder: Path) -> list[dict]:
    """The pictures of a folder in the order of their names: `source` (a data URI), `width`, `height` in pixels,
    `alt`, `caption`."""
    pictures = []
    for path in sorted(p for p in folder.glob("*") if p.suffix in (".png", ".gif")):
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
        alt, caption = describe(path.stem)
        source = f"data:image/{path.suffix[1:]};base64,{base64.b64encode(content).decode()}"
        pictures.append({"source": source, "width": width, "height": height, "alt": alt, "caption": caption})
    return pictures


def describe(stem: str) -> tuple[str, str]:
    """Alternative text and caption of a figure; one that `CAPTIONS` does not know gets its name."""
    for pattern, texts in CAPTIONS.items():
        if fnmatch(stem, pattern):
            number = stem.rsplit("_", 1)[-1]
            return tuple(text.format(number) for text in texts)
    return stem, stem


def left_out(manifest: dict) -> dict:
    """How many rows of the data were used, and a line for each that could not be, with its reason."""
    read = [manifest["steps"].get(name, {}) for name in ("own data", "benchmarks")]
    rows = [row for facts in read for row in facts.get("skipped", [])]
    lines = [f"{row['row']} ({row['image']}): {row['reason']}" for row in rows]
    return {"used": sum(facts.get("used", 0) for facts in read), "rows": lines}


def write_notebooks(run: Run, steps: tuple[str, ...]) -> None:
    """The executed notebooks as HTML that runs no script and asks the network for nothing.

    So formulas stay as they were typed, and of a widget there is only its name.
    """
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()
    exporter.raw_template = HERE.joinpath("notebook.html.j2").read_text()
    for step in steps:
        notebook = nbformat.read(run.notebooks / f"{step}.ipynb", as_version=4)
        notebook.metadata.pop("widgets", None)
        body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": step}})
        write_text(run.notebooks / f"{step}.html", body)
