"""Pictures and text of a trajectory for the screen: drawn by Pillow in milliseconds, where a figure takes a second.

Text is what models and people wrote: every piece goes through `html.escape`, so that none becomes markup.
"""

import base64
import html
import io
import re
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mags_kit.images import open_image
from mags_kit.method.magnifier import draw_view
from mags_kit.method.metrics import change, right
from mags_kit.method.protocol import CALL
from mags_kit.records import Box, Outcome, Region, Trajectory
from mags_kit.viz.browser import verdict, words

# Okabe and Ito's palette, safe for colour-blind readers: a colour for each region, beside its number
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SIDE = 896  # pixels of the longer side of an image for the screen, which scales it down
BOX_TEXT = re.compile(r"\[[^\[\]]*\]")  # an innermost list, as a policy writes a box

# The arrow of a list is ipywidgets' own, and black, so that the dark theme needs another.
STYLE = """<style>
.mags { color: var(--jp-ui-font-color1, inherit); font-size: 14px; line-height: 1.45 }
.mags, .mags * { box-sizing: border-box }
.mags .side { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start }
.mags section { flex: 1 1 340px; min-width: 0; max-width: 100% }
.mags section > img { width: 460px }
.mags h4 { margin: 8px 0 4px; font-size: 14px; font-weight: 600 }
.mags img { max-width: 100%; height: auto; display: block; background: #fff }
.mags .views { display: flex; flex-wrap: wrap; gap: 12px; margin: 8px 0 }
.mags figure { margin: 0; max-width: 100% }
.mags figcaption, .mags .soft { font-size: 12px; color: var(--jp-ui-font-color2, #555) }
.mags .pair { display: flex; gap: 4px }
.mags .pair img { width: 220px; min-width: 0 }
.mags .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: 8px }
.mags .grid img { width: 100% }
.mags .sharp { image-rendering: pixelated }
.mags pre { white-space: pre-wrap; overflow-wrap: anywhere; word-break: normal; max-height: 260px;
  overflow: auto; margin: 0 0 6px; padding: 6px 8px; border: 1px solid var(--jp-border-color2, #ccc);
  background: transparent; color: inherit; font-size: 13px }
.mags table { border-collapse: collapse; margin: 6px 0 }
.mags th, .mags td { text-align: left; padding: 2px 12px 2px 0; vertical-align: top; overflow-wrap: anywhere;
  color: inherit; background: transparent }
.mags th { font-weight: 400; color: var(--jp-ui-font-color2, #555); white-space: nowrap }
.mags .box { color: #fff; padding: 0 3px; border-radius: 2px }
.mags .bad { border: 1px solid #D55E00; padding: 6px 8px; margin: 4px 0 }
.mags-boxes { flex: 1 1 360px; max-width: 620px; min-width: 0 }
.mags-boxes .classes { display: none }
.mags-boxes svg text { user-select: none }
[data-jp-theme-light="false"] :is(.mags-inspector, .mags-playground, .mags-replay) select {
  background-image: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'%3E\
%3Cpath d='M5 7l4 4 4-4' stroke='%23ddd' stroke-width='2' fill='none'/%3E%3C/svg%3E") }
.mags-true { overflow: auto }
.mags .mags-true img { max-width: none; image-rendering: pixelated }
</style>"""


def escape(text: str) -> str:
    """Text that a page shows as it is."""
    return html.escape(text)


def colour(number: int) -> str:
    """Of the region with that place in a reply, counted from 0."""
    return PALETTE[number % len(PALETTE)]


@lru_cache(16)
def _opened(path: str, changed: float) -> Image.Image:
    return open_image(path)


def image_of(path: str | Path) -> Image.Image:
    """An image from its file; the last few stay in memory as long as their files stay as they are."""
    path = Path(path)
    return _opened(str(path), path.stat().st_mtime if path.exists() else 0.0)


def annotated(image: Image.Image, regions: tuple[Region, ...], targets: tuple[Box, ...] = (), side: int = SIDE):
    """The image, at most `side` pixels long, with numbered regions (dashed: not usable) and targets (dotted, black)."""
    scale = min(1.0, side / max(image.size))
    small = image.copy()
    small.thumbnail((side, side), Image.BILINEAR)
    pen = ImageDraw.Draw(small)
    for box in targets:
        _frame(pen, [v * scale for v in box], "black", 1, 3)
    unit = max(small.size) / 448  # about a pixel on the screen
    font, line, high = ImageFont.load_default(13 * unit), max(1, round(2 * unit)), round(17 * unit)
    for i, region in enumerate(regions):
        box = [max(-1e4, min(1e4, v * scale)) for v in region.box]
        box = [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]
        _frame(pen, box, "white", 2 * line)
        _frame(pen, box, colour(i), line, 0 if region.usable else 4 * line)
        text = f" {i + 1} " if region.usable else f" {i + 1} {region.said} "
        wide = pen.textlength(text, font=font)
        x, y = max(0, min(box[0], small.width - wide)), min(max(0, box[1] - high), small.height - high)
        pen.rectangle((x, y, x + wide, y + high), fill=colour(i))
        pen.text((x, y), text, fill="white", font=font)
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


def picture(image: Image.Image, alt: str, kind: str = "JPEG", names: str = "") -> str:
    """An <img> that holds its pixels, with a text alternative."""
    out = io.BytesIO()
    image.save(out, kind, quality=88) if kind == "JPEG" else image.save(out, kind, compress_level=1)
    data = base64.b64encode(out.getvalue()).decode()
    return (
        f'<img class="{names}" width="{image.width}" height="{image.height}" alt="{html.escape(alt)}" '
        f'src="data:image/{kind.lower()};base64,{data}">'
    )


def reply(text: str, regions: int = 0) -> str:
    """A reply as text that stays text; the first `regions` boxes of its tool call in the colours of the image."""
    before, call, rest = text.partition(CALL[0])
    parts, end = [html.escape(before + call)], 0
    for i, found in enumerate([*BOX_TEXT.finditer(rest)][:regions]):
        parts += [html.escape(rest[end : found.start()])]
        parts += [f'<span class="box" style="background:{colour(i)}">{html.escape(found.group())}</span>']
        end = found.end()
    return f'<pre dir="auto">{"".join(parts)}{html.escape(rest[end:])}</pre>'


def views(t: Trajectory, image: Image.Image, cache_dir=None) -> str:
    """Each usable region as the image has it, beside its magnified view."""
    made, places = [], [i for i, region in enumerate(t.regions) if region.usable]
    for place, view in zip(places, t.views, strict=False):
        crop, magnified = image.crop(view.box), draw_view(image, view, t.magnifier, cache_dir)
        made.append(
            f'<figure style="border-top:4px solid {colour(place)}"><div class="pair">'
            + picture(crop, f"Region {place + 1} as the image has it", names="sharp")
            + picture(magnified, f"Region {place + 1} magnified by {t.magnifier}")
            + f"</div><figcaption>region {place + 1}: {crop.width}×{crop.height} px, and magnified to "
            f"{magnified.width}×{magnified.height} px by {html.escape(t.magnifier)}</figcaption></figure>"
        )
    return f'<div class="views">{"".join(made) or "<span class=soft>no view</span>"}</div>'


def facts(t: Trajectory) -> str:
    """Draft, verdict, answer, truth, and the reward with its parts, as a table."""
    rows = {"draft": t.draft, "verdict": words(t) or None, "answer": t.answer, "truth": t.sample.truth or None}
    if t.sample.answer:
        rows["result"] = f"{'right' if right([t])[0] else 'wrong'} ({change(t)}; {verdict(t)})"
    if t.outcome != Outcome.ANSWERED:
        rows["outcome"] = t.outcome.replace("_", " ")
    if t.rewards:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in t.rewards.items() if name != "total")
        rows["reward"] = f"{t.rewards.get('total', 0):.2f} = weighted sum of {parts}"
    return "<table>" + "".join(
        f'<tr><th scope="row">{name}</th><td dir="auto">{html.escape("–" if value is None else str(value))}</td></tr>'
        for name, value in rows.items()
    ) + "</table>"  # fmt: skip


def trajectory(t: Trajectory, folder: str | Path, cache_dir=None, title: str = "") -> str:
    """All of one trajectory as a block of HTML."""
    image = image_of(Path(folder, t.sample.image))
    places = "; ".join(f"region {i + 1} {r.outcome} at {', '.join(map(str, r.box))}" for i, r in enumerate(t.regions))
    rounds = "".join(f"<h4>round {i + 1}</h4>{reply(r, len(t.regions) * (i == 0))}" for i, r in enumerate(t.replies))
    return (
        f"<section><h4>{html.escape(title)}</h4>"
        + picture(annotated(image, t.regions, t.sample.boxes), f"The image. {places or 'No region'}")
        + f"{views(t, image, cache_dir)}{facts(t)}{rounds}</section>"
    )


def page(*blocks: str, question: str = "") -> str:
    """Blocks side by side, under a question; `mathjax_ignore` keeps formulas in it from being typeset."""
    asked = f'<p dir="auto"><b>{html.escape(question)}</b></p>' if question else ""
    names = "mags tex2jax_ignore mathjax_ignore"
    return f'{STYLE}<div class="{names}">{asked}<div class="side">{"".join(blocks)}</div></div>'


def sentence(text: str) -> str:
    """One that says what went wrong, in a frame."""
    return page(f'<p class="bad" role="alert">{html.escape(text)}</p>')


def region_views(shown: list[tuple[Image.Image, dict[str, Image.Image]]]) -> str:
    """Regions as the image has them, and magnified, next to each other."""
    made = []
    for i, (crop, views) in enumerate(shown):
        shapes = {f"in the image, {crop.width}×{crop.height} px": (crop, "sharp")}
        shapes |= {f"{name}, {v.width}×{v.height} px": (v, "") for name, v in views.items()}
        each = "".join(
            f"<figure>{picture(pixels, f'Region {i + 1}, {what}', names=names)}"
            f"<figcaption>{escape(what)}</figcaption></figure>"
            for what, (pixels, names) in shapes.items()
        )
        made.append(f'<h4 style="border-top:4px solid {colour(i)}">region {i + 1}</h4><div class="grid">{each}</div>')
    return f'<section class="mags-views">{"".join(made)}</section>'


def true_size(view: Image.Image) -> str:
    title = f"what round 1 sees: {view.width}×{view.height} pixels"
    return f'<section><h4>{title}</h4><div class="mags-true">{picture(view, title, "PNG")}</div></section>'
