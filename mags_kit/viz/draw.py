"""Pictures of samples and trajectories: HTML for widgets, and static pictures by Pillow; figures saved with captions.

What models and people wrote passes through `html.escape`, so that none of it becomes markup.
"""

import base64
import html
import io
import re
import textwrap
from pathlib import Path

import matplotlib
from IPython.display import HTML
from IPython.display import Image as Shown
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from mags_kit.images import open_image
from mags_kit.method.episode import Agent
from mags_kit.method.magnifier import draw_view
from mags_kit.method.metrics import change, right
from mags_kit.method.protocol import CALL, RETHINK, part
from mags_kit.records import Box, Outcome, Region, Sample, Trajectory, write_bytes
from mags_kit.run import Run

# Okabe and Ito's palette, safe for colour-blind readers: a colour for each region, beside its number
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BOX_TEXT = re.compile(r"\[[^\[\]]*\]")  # an innermost list, as a policy writes a box
STYLE = f"<style>{Path(__file__).with_name('style.css').read_text()}</style>"
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")
DPI = 100  # pixels of a saved figure for each inch of a page; charts have twice as many
GAP, SIDE = 16, 480  # pixels in a static picture: between its parts, of an image's longer side


def colour(number: int) -> str:
    """The colour of the region with that place in a reply, counted from 0."""
    return PALETTE[number % len(PALETTE)]


def annotated(image: Image.Image, regions: tuple[Region, ...], targets: tuple[Box, ...] = (), side: int = 896):
    """The image, at most `side` pixels long, with numbered regions (dashed: not usable) and targets (dotted, black)."""
    scale = min(1.0, side / max(image.size))
    small = image.copy()
    small.thumbnail((side, side), Image.BILINEAR)
    pen = ImageDraw.Draw(small)
    unit = max(1.0, max(small.size) / 448)  # about a pixel on the screen
    font, line, high = ImageFont.truetype(FONT, 13 * unit), max(1, round(2 * unit)), round(17 * unit)
    for box in targets:
        _frame(pen, [v * scale for v in box], "black", max(1, line // 2), 3)
    for i, region in enumerate(regions):
        box = [max(-1e4, min(1e4, v * scale)) for v in region.box]
        box = [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]
        _frame(pen, box, "white", 2 * line)
        _frame(pen, box, colour(i), line, 0 if region.usable else 4 * line)
        label = f" {i + 1} " if region.usable else f" {i + 1} {region.said} "
        wide = pen.textlength(label, font=font)
        x, y = max(0, min(box[0], small.width - wide)), min(max(0, box[1] - high), small.height - high)
        pen.rectangle((x, y, x + wide, y + high), fill=colour(i))
        pen.text((x, y), label, fill="white", font=font)
    return small


def _frame(pen, box, ink: str, width: int, dash: int = 0) -> None:
    x0, y0, x1, y1 = box
    if not dash:
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=ink, width=width)
        return
    (across, down), step = pen.im.size, 2 * dash
    for x in range(int(max(x0, 0)), int(min(x1, across)), step):
        for y in (y0, y1):
            pen.line((x, y, min(x + dash, x1), y), fill=ink, width=width)
    for y in range(int(max(y0, 0)), int(min(y1, down)), step):
        for x in (x0, x1):
            pen.line((x, y, x, min(y + dash, y1)), fill=ink, width=width)


def verification(t: Trajectory) -> str:
    """What round 2 writes about the draft; empty where it writes nothing."""
    found = re.search(part(RETHINK, "(.*?)"), t.replies[-1], re.DOTALL) if len(t.replies) > 1 else None
    return found.group(1).strip() if found else ""


def facts(t: Trajectory) -> dict[str, str]:
    """Draft, verification, verdict, answer, truth, result and the reward with its parts, as text."""
    rows = {"draft": t.draft, "verification": verification(t), "verdict": t.verdict, "answer": t.answer}
    rows["truth"] = t.sample.truth
    if t.sample.answer:
        rows["result"] = f"{'right' if right([t])[0] else 'wrong'} ({change(t)})"
    if t.outcome != Outcome.ANSWERED:
        rows["outcome"] = t.outcome.replace("_", " ")
    if t.rewards:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in t.rewards.items() if name != "total")
        rows["reward"] = f"{t.rewards.get('total', 0):.2f} = weighted sum of {parts}"
    return {name: value or "–" for name, value in rows.items()}


def magnified(t: Trajectory, image: Image.Image, cache_dir=None) -> dict[int, tuple[Image.Image, Image.Image]]:
    """Place of a usable region -> its crop as the image has it, and its view."""
    places = [i for i, region in enumerate(t.regions) if region.usable]
    pairs = [(image.crop(view.box), draw_view(image, view, t.magnifier, cache_dir)) for view in t.views]
    return dict(zip(places, pairs, strict=False))


def _boxes(text: str, count: int) -> list[re.Match]:
    """The first `count` boxes of a reply's tool call."""
    start = text.find(CALL[0])
    return [*BOX_TEXT.finditer(text, start)][:count] if start >= 0 else []


# HTML


def img(image: Image.Image, alt: str, names: str = "") -> str:
    """An <img> that holds its pixels, with a text alternative and the names of its classes."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    data = base64.b64encode(out.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img class="{names}" {size} alt="{html.escape(alt)}" src="data:image/jpeg;base64,{data}">'


def reply(text: str, regions: int = 0) -> str:
    """A reply as text; the first `regions` boxes of its tool call in the colours of the image."""
    parts, end = [], 0
    for i, found in enumerate(_boxes(text, regions)):
        parts += [html.escape(text[end : found.start()])]
        parts += [f'<span class="box" style="background:{colour(i)}">{html.escape(found.group())}</span>']
        end = found.end()
    return f'<pre dir="auto">{"".join(parts)}{html.escape(text[end:])}</pre>'


def trajectory(t: Trajectory, folder: str | Path, cache_dir=None, title: str = "") -> str:
    """A trajectory as a block of HTML: the image with its regions, the views, the facts, and both replies."""
    image = open_image(Path(folder, t.sample.image))
    places = "; ".join(f"region {i + 1} {r.outcome} at {', '.join(map(str, r.box))}" for i, r in enumerate(t.regions))
    views = "".join(
        f'<figure style="border-top:4px solid {colour(i)}"><div class="pair">'
        + img(crop, f"Region {i + 1} as the image has it", "sharp")
        + img(view, f"Region {i + 1} magnified by {t.magnifier}")
        + f"</div><figcaption>region {i + 1}: {crop.width}×{crop.height} px, and magnified to "
        f"{view.width}×{view.height} px by {html.escape(t.magnifier)}</figcaption></figure>"
        for i, (crop, view) in magnified(t, image, cache_dir).items()
    )
    row = '<tr><th scope="row">{}</th><td dir="auto">{}</td></tr>'
    rows = "".join(row.format(name, html.escape(value)) for name, value in facts(t).items())
    rounds = "".join(f"<h4>round {i + 1}</h4>{reply(r, len(t.regions) * (i == 0))}" for i, r in enumerate(t.replies))
    return (
        f"<section><h4>{html.escape(title)}</h4>"
        + img(annotated(image, t.regions, t.sample.boxes), f"The image. {places or 'No region'}")
        + f'<div class="views">{views or "<span class=soft>no view</span>"}</div>'
        + f"<table>{rows}</table>{rounds}</section>"
    )


def page(*blocks: str, question: str = "") -> str:
    """Blocks side by side, under a question; `mathjax_ignore` keeps formulas in it from being typeset."""
    asked = f'<p dir="auto"><b>{html.escape(question)}</b></p>' if question else ""
    names = "mags tex2jax_ignore mathjax_ignore"
    return f'{STYLE}<div class="{names}">{asked}<div class="side">{"".join(blocks)}</div></div>'


def error(text: str) -> str:
    """A sentence that says what went wrong, in a frame."""
    return page(f'<p class="bad" role="alert">{html.escape(text)}</p>')


def show(t: Trajectory, folder: str | Path = "", cache_dir=None) -> HTML:
    """A trajectory as a notebook shows it; `folder` is that of its image, `cache_dir` that of magnified views."""
    return HTML(page(trajectory(t, folder, cache_dir), question=t.sample.question))


# static pictures


def written(text: str, width: int = SIDE, ink: str = "black", regions: int = 0, size: int = 18) -> Image.Image:
    """Wrapped text as a picture `width` pixels wide; the first `regions` boxes of a tool call in their colours."""
    font = ImageFont.truetype(FONT, size)
    wide, high = font.getlength("m"), round(1.3 * size)
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, int(width / wide)) or [""]]
    inks = {at: colour(i) for i, found in enumerate(_boxes(text, regions)) for at in range(*found.span())}
    left = iter([inks.get(at, ink) for at, letter in enumerate(text) if not letter.isspace()])  # wrapping keeps these
    picture = Image.new("RGB", (width, max(1, high * len(lines))), "white")
    pen = ImageDraw.Draw(picture)
    for y, line in enumerate(lines):
        for x, letter in enumerate(line):
            if not letter.isspace():
                pen.text((x * wide, y * high), letter, fill=next(left), font=font)
    return picture


def joined(pictures: list[Image.Image], down: bool = False, gap: int = GAP) -> Image.Image:
    """Pictures on white, side by side or below each other."""
    longs, shorts = zip(*((p.size[down], p.size[not down]) for p in pictures), strict=True)
    size = sum(longs) + gap * (len(longs) - 1), max(shorts)
    whole, at = Image.new("RGB", size[::-1] if down else size, "white"), 0
    for picture, long in zip(pictures, longs, strict=True):
        whole.paste(picture, (0, at) if down else (at, 0))
        at += long + gap
    return whole


def captioned(image: Image.Image, text: str, side: int = SIDE, ink: str = "black") -> Image.Image:
    """An image, its longer side `side` pixels, above a text."""
    scale = side / max(image.size)
    size = [max(1, round(scale * v)) for v in image.size]
    return joined([image.resize(size, Image.BICUBIC), written(text, side, ink)], down=True, gap=4)


def sheet(trajectories: dict[str, Trajectory], folder: str | Path, cache_dir=None) -> Image.Image:
    """Trajectories below each other, each under its name, as one picture with all that `trajectory` shows."""
    blocks = []
    for name, t in trajectories.items():
        image, half = open_image(Path(folder, t.sample.image)), (SIDE - GAP) // 2
        views = []
        for i, (crop, view) in magnified(t, image, cache_dir).items():
            said = f"region {i + 1}, {crop.width}×{crop.height} px", f"magnified, {view.width}×{view.height} px"
            views += [joined([captioned(each, text, half, colour(i)) for each, text in zip((crop, view), said)])]
        texts = [written(f"round {i + 1}:\n{r}", regions=len(t.regions) * (i == 0)) for i, r in enumerate(t.replies)]
        texts += [written("\n".join(f"{fact}: {value}" for fact, value in facts(t).items()))]
        whole = captioned(annotated(image, t.regions, t.sample.boxes, SIDE), "")
        parts = joined([whole, joined(views or [written("no view")], True), joined(texts, True)])
        heading = f"{name}: {t.sample.question}" if name else t.sample.question
        blocks += [joined([written(heading, parts.width), parts], down=True)]
    return joined(blocks, down=True, gap=3 * GAP)


def strip(named: list[tuple[str, Trajectory]], folder: str | Path, side: int = 300) -> Image.Image:
    """Trajectories side by side in brief: each image with its regions, above a name."""
    images = [open_image(Path(folder, t.sample.image)) for _, t in named]
    marked = [annotated(image, t.regions, t.sample.boxes, side) for image, (_, t) in zip(images, named, strict=True)]
    return joined([captioned(image, name, side) for image, (name, _) in zip(marked, named, strict=True)])


def show_samples(samples: list[Sample], folder: str | Path, columns: int = 3) -> Image.Image:
    """Images with their questions and answers; the box that holds the answer, which training never sees, is dotted."""
    marked = [annotated(open_image(Path(folder, s.image)), (), s.boxes, SIDE) for s in samples]
    each = [captioned(i, f"{s.question}\nanswer: {s.truth}") for i, s in zip(marked, samples, strict=True)]
    return joined([joined(each[i : i + columns]) for i in range(0, len(each), columns)], down=True)


def show_looks(agent: Agent, samples: list[Sample]) -> Image.Image:
    """For each sample: the first view, its target as the first view shows it, and the target magnified.

    Where the data have no box of the target, the middle of the image stands for it.
    """
    rows = []
    for s in samples:
        image = open_image(agent.folder / s.image)
        middle = tuple(round(side * share) for share in (0.4, 0.6) for side in image.size)
        first = agent.policy.first_view(image, agent.config.first_view_pixels)
        view, record = agent.magnifier.view(image, s.boxes[0] if s.boxes else middle)
        small = first.crop([round(v * first.width / image.width) for v in record.box])
        what = "target" if s.boxes else "middle"
        shown = {f"first view: {s.question} ({s.truth})": first, f"{what} in it": small, f"{what} magnified": view}
        rows += [joined([captioned(v, f"{name}, {v.width}×{v.height} px") for name, v in shown.items()])]
    return joined(rows, down=True)


def save(figure, run: Run, name: str, caption: str) -> Shown:
    """Write a chart or a picture as PNG into the run's `figures`, the caption inside it (`Description`); what is
    returned shows it in a notebook."""
    out = io.BytesIO()
    if isinstance(figure, Image.Image):
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Description", caption)
        figure.save(out, "PNG", pnginfo=notes)
    else:
        figure.savefig(out, dpi=2 * DPI, bbox_inches="tight", metadata={"Description": caption})
    write_bytes(run.figures / f"{name}.png", out.getvalue())
    with Image.open(out) as saved:
        return Shown(out.getvalue(), width=round(saved.width * DPI / saved.info.get("dpi", (DPI,))[0]), alt=caption)
