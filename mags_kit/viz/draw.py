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
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from mags_kit.images import open_image
from mags_kit.method.episode import Agent, Episode
from mags_kit.method.magnifier import draw_view
from mags_kit.method.metrics import change, right
from mags_kit.method.protocol import RETHINK, TAGS, part
from mags_kit.records import Box, Outcome, Region, Sample, Trajectory, write_bytes
from mags_kit.run import Run

# Okabe and Ito's palette, safe for colour-blind readers: a colour for each region, beside its number
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE = f"<style>{Path(__file__).with_name('style.css').read_text()}</style>"
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSansMono.ttf")
DPI = 100  # pixels of a saved figure for each inch of a page; charts have twice as many
GAP, SIDE = 16, 480  # pixels in a static picture: between its parts, of an image's longer side


def colour(number: int) -> str:
    """The colour of the region with that place in a reply, counted from 0."""
    return PALETTE[number % len(PALETTE)]


def annotated(image: Image.Image, regions: tuple[Region, ...], targets: tuple[Box, ...] = (), side: int = 896):
    """The image, at most `side` pixels long, with its targets in black and numbered regions in their colours; beside
    the number of one that is not usable its outcome."""
    scale = min(1.0, side / max(image.size))
    small = image.copy()
    small.thumbnail((side, side), Image.BILINEAR)
    pen = ImageDraw.Draw(small)
    unit = max(1.0, max(small.size) / 448)  # about a pixel on the screen
    font, line, high = ImageFont.truetype(FONT, 13 * unit), max(1, round(2 * unit)), round(17 * unit)
    marks = [(box, "black", "") for box in targets]
    marks += [(r.box, colour(i), f" {i + 1} {'' if r.usable else r.said + ' '}") for i, r in enumerate(regions)]
    for box, ink, label in marks:
        (x0, x1), (y0, y1) = (sorted(max(-1e4, min(1e4, v * scale)) for v in box[i::2]) for i in (0, 1))
        for width, outline in ((3 * line, "white"), (2 * line, ink)):  # outside, so that nothing of it is hidden
            pen.rectangle((x0 - width, y0 - width, x1 + width, y1 + width), outline=outline, width=width - line)
        if label:
            wide = pen.textlength(label, font=font)
            x, y = max(0, min(x0, small.width - wide)), min(max(0, y0 - high), small.height - high)
            pen.rectangle((x, y, x + wide, y + high), fill=ink)
            pen.text((x, y), label, fill="white", font=font)
    return small


def facts(t: Trajectory) -> dict[str, str]:
    """Draft, verification, verdict, answer, truth, result and the reward with its parts, as text."""
    found = re.search(part(RETHINK, "(.*?)"), t.replies[-1], re.DOTALL) if len(t.replies) > 1 else None
    rows = {"draft": t.draft, "verification": found and found.group(1).strip(), "verdict": t.verdict}
    rows |= {"answer": t.answer, "truth": t.sample.truth}
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


def img(image: Image.Image, alt: str, names: str = "") -> str:
    """An <img> that holds its pixels, with a text alternative and the names of its classes."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    data = base64.b64encode(out.getvalue()).decode()
    size = f'width="{image.width}" height="{image.height}"'
    return f'<img class="{names}" {size} alt="{html.escape(alt)}" src="data:image/jpeg;base64,{data}">'


def views(number: int, named: dict[str, Image.Image]) -> str:
    """A region in several versions by name, the first as the image has it, next to each other."""
    figures = "".join(
        f"<figure>{img(view, f'Region {number + 1}, {name}', '' if i else 'sharp')}"
        f"<figcaption>{html.escape(name)}, {view.width}×{view.height} px</figcaption></figure>"
        for i, (name, view) in enumerate(named.items())
    )
    title = f'<h4 style="border-top:4px solid {colour(number)}">region {number + 1}</h4>'
    return f'<div class="views">{title}<div class="grid">{figures}</div></div>'


def trajectory(t: Trajectory, folder: str | Path, cache_dir=None, title: str = "") -> str:
    """A trajectory as a block of HTML: the facts, the image with its regions, the views, and both replies."""
    image = open_image(Path(folder, t.sample.image))
    places = "; ".join(f"region {i + 1} {r.outcome} at {', '.join(map(str, r.box))}" for i, r in enumerate(t.regions))
    pairs = magnified(t, image, cache_dir).items()
    shown = "".join(views(i, {"in the image": crop, f"magnified by {t.magnifier}": view}) for i, (crop, view) in pairs)
    row = '<tr><th scope="row">{}</th><td dir="auto">{}</td></tr>'
    rows = "".join(row.format(name, html.escape(value)) for name, value in facts(t).items())
    rounds = "".join(f'<h4>round {i}</h4><pre dir="auto">{coloured(r)}</pre>' for i, r in enumerate(t.replies, 1))
    return (
        f"<section><h4>{html.escape(title)}</h4><table>{rows}</table>"
        + img(annotated(image, t.regions, t.sample.boxes), f"The image. {places or 'No region'}")
        + f"{shown or '<p class=soft>no view</p>'}{rounds}</section>"
    )


def coloured(reply: str) -> str:
    """A reply as HTML, each of its parts (`<think>…</think>` and the like, and its call) underlined in a colour."""
    text = html.escape(reply)
    for number, tag in enumerate((*TAGS, "tool_call")):
        mark = f'<span style="border-bottom:3px solid {colour(number)}">\\g<0></span>'
        text = re.sub(html.escape(part(tag, "@")).replace("@", ".*?"), mark, text, flags=re.DOTALL)
    return text


def conversation(agent: Agent, t: Trajectory) -> HTML:
    """A trajectory of two rounds word by word: the prompt, the replies, and what the tool answers between them."""
    episode, at = Episode(agent, t.sample), 0
    blocks = [("the prompt", _content(episode.prompt()))]
    for number, reply in enumerate(t.replies):
        blocks.append((f"reply, round {number + 1}", f'<pre dir="auto">{coloured(reply)}</pre>'))
        if number < len(t.looks):
            shown = episode.show(list(t.regions[at : at + t.looks[number]]))
            at += t.looks[number]
            content = [{"type": "text", "text": shown}] if isinstance(shown, str) else shown
            blocks.append(("the tool", _content(content)))
    return HTML(page(f"<section>{''.join(f'<h4>{title}</h4>{body}' for title, body in blocks)}</section>"))


def _content(parts: list[dict]) -> str:
    """A message's content as HTML: its images small, its texts as they are."""
    return "".join(
        f"<div>{img(p['image'], 'an image of the message')}</div>" if p["type"] == "image"
        else f"<pre>{html.escape(p['text'])}</pre>" for p in parts
    )


def page(*blocks: str, question: str = "") -> str:
    """Blocks side by side, under a question; `mathjax_ignore` keeps formulas in it from being typeset."""
    asked = f'<p dir="auto"><b>{html.escape(question)}</b></p>' if question else ""
    side = f'<div class="side">{"".join(blocks)}</div>'
    return f'{STYLE}<div class="mags tex2jax_ignore mathjax_ignore">{asked}{side}</div>'


def error(text: str) -> str:
    """A sentence that says what went wrong, in a frame."""
    return page(f'<p class="bad" role="alert">{html.escape(text)}</p>')


def show(t: Trajectory, folder: str | Path = "", cache_dir=None) -> HTML:
    """A trajectory as a notebook shows it; `folder` is that of its image, `cache_dir` that of magnified views."""
    return HTML(page(trajectory(t, folder, cache_dir), question=t.sample.question))


def written(text: str, width: int = SIDE, size: int = 18) -> Image.Image:
    """Wrapped text as a picture `width` pixels wide."""
    font, high = ImageFont.truetype(FONT, size), round(1.3 * size)
    letters = int(width / font.getlength("m"))
    lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, letters) or [""]]
    picture = Image.new("RGB", (width, max(1, high * len(lines))), "white")
    pen = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        pen.text((0, i * high), line, fill="black", font=font)
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


def grid(cells: list[tuple[str, Image.Image]], columns: int, side: int = SIDE) -> Image.Image:
    """Images in rows, the longer side of each `side` pixels, above their captions."""
    made = []
    for text, image in cells:
        resized = ImageOps.contain(image, (side, side), Image.BICUBIC)
        made += [joined([resized, written(text, side)], down=True, gap=4)]
    return joined([joined(made[i : i + columns]) for i in range(0, len(made), columns)], down=True)


def sheet(trajectories: dict[str, Trajectory], folder: str | Path, cache_dir=None) -> Image.Image:
    """Trajectories below each other, each under its name, as one picture with all that `trajectory` shows."""
    blocks = []
    for name, t in trajectories.items():
        image, cells = open_image(Path(folder, t.sample.image)), []
        for i, (crop, view) in magnified(t, image, cache_dir).items():
            cells += [(f"region {i + 1}, {crop.width}×{crop.height} px", crop)]
            cells += [(f"magnified, {view.width}×{view.height} px", view)]
        texts = [f"round {i}:\n{reply}" for i, reply in enumerate(t.replies, 1)]
        texts += ["\n".join(f"{fact}: {value}" for fact, value in facts(t).items())]
        parts = joined([
            grid([("", annotated(image, t.regions, t.sample.boxes, SIDE))], 1),
            grid(cells, 2, (SIDE - GAP) // 2) if cells else written("no view"),
            joined([*map(written, texts)], down=True),
        ])  # fmt: skip
        blocks += [written(f"{name}: {t.sample.question}" if name else t.sample.question, parts.width), parts]
    return joined(blocks, down=True)


def strip(named: list[tuple[str, Trajectory]], folder: str | Path, side: int = 300) -> Image.Image:
    """Trajectories side by side in brief: each image with its regions, above a name."""
    images = [open_image(Path(folder, t.sample.image)) for _, t in named]
    pairs = zip(named, images, strict=True)
    return grid([(name, annotated(i, t.regions, t.sample.boxes, side)) for (name, t), i in pairs], len(named), side)


def show_samples(samples: list[Sample], folder: str | Path, columns: int = 3) -> Image.Image:
    """Images with their questions and answers, and in black the target, which training never sees."""
    marked = [annotated(open_image(Path(folder, s.image)), (), s.boxes, SIDE) for s in samples]
    return grid([(f"{s.question}\nanswer: {s.truth}", i) for s, i in zip(samples, marked, strict=True)], columns)


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
