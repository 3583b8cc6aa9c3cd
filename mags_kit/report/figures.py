"""Figures of images: samples, what looking twice shows, trajectories. Notebooks show and save them."""

import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from mags_kit.images import open_image
from mags_kit.method.look import Agent
from mags_kit.method.magnifier import draw_view
from mags_kit.method.measures import BROKE, KEPT_RIGHT, KEPT_WRONG, NO_DRAFT, REPAIRED, change, right
from mags_kit.records import Outcome, Sample, Trajectory, write_bytes
from mags_kit.runs import Run

# Okabe and Ito's palette, safe for colour-blind readers
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
COLOURS = {REPAIRED: GREEN, BROKE: RED, KEPT_RIGHT: BLUE, KEPT_WRONG: ORANGE, NO_DRAFT: GREY}
# for the time of drawing only: a notebook's own settings stay
styled = plt.rc_context({"figure.dpi": 110, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


def save(figure, run: Run, name: str) -> None:
    """Write a figure as PNG into the run's `figures`."""
    write_bytes(run.figures / f"{name}.png", png(figure))


def png(figure) -> bytes:
    """A figure as the content of a PNG file."""
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight")
    return out.getvalue()


@styled
def show_samples(samples: list[Sample], folder: str | Path, columns: int = 3):
    """Images with their questions; the box that holds the answer, which training never sees, is dashed."""
    rows = -(-len(samples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 4.1 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, sample in zip(axes.flat, samples, strict=False):
        axis.imshow(open_image(Path(folder, sample.image)))
        for box in sample.boxes:
            _draw_box(axis, box, ec="black", ls="--", lw=1.2)
        title = f"{_wrap(sample.question, 38)}\nanswer: {sample.truth}"
        axis.set_title(title, fontsize=9, loc="left", parse_math=False)  # a $ is a dollar
    figure.tight_layout()
    return figure


@styled
def show_looks(agent: Agent, samples: list[Sample]):
    """For each sample: the first view, its target as the first view shows it, and the target magnified.

    Where the data have no box of the target, the middle of the image stands for it.
    """
    figure, axes = plt.subplots(len(samples), 3, figsize=(9, 3.2 * len(samples)), squeeze=False)
    for (whole, before, after), sample in zip(axes, samples, strict=True):
        image = open_image(agent.folder / sample.image)
        middle = tuple(round(side * share) for share in (0.4, 0.6) for side in image.size)
        box, what = (sample.boxes[0], "target") if sample.boxes else (middle, "middle")
        first = agent.policy.first_view(image, agent.config.first_view_pixels)
        magnified, view = agent.magnifier.view(image, box)
        scale = first.width / image.width
        small = first.crop([round(v * scale) for v in view.box])
        asked = _wrap(f"{sample.question} ({sample.truth})", 44)
        for axis, picture, title in (
            (whole, first, f"{asked}\nfirst view, {first.width}x{first.height} px"),
            (before, small, f"there the {what} has {small.width}x{small.height} px"),
            (after, magnified, f"magnified: {magnified.width}x{magnified.height} px"),
        ):
            axis.imshow(picture)
            axis.set_title(title, fontsize=9, loc="left", parse_math=False)
            axis.axis("off")
    figure.tight_layout()
    return figure


@styled
def show_trajectory(t: Trajectory, folder: str | Path, cache_dir=None):
    """One trajectory: the image with its regions, the views as the policy saw them, both replies and the verdict."""
    image = open_image(Path(folder, t.sample.image))
    views = [draw_view(image, view, t.magnifier, cache_dir) for view in t.views]
    replies = [f"round {i + 1}:\n{_wrap(reply, 60)}" for i, reply in enumerate(t.replies)]
    text = "\n\n".join([*replies, f"draft: {t.draft}   answer: {t.answer}   truth: {t.sample.truth}"])
    widths = [4.2, *[3] * max(1, len(views)), 4.8]  # inches, as is the height: the text decides where it is long
    size = sum(widths), max(4.2, 0.165 * text.count("\n") + 0.8)
    figure, axes = plt.subplots(1, len(widths), figsize=size, width_ratios=widths)
    _draw_regions(axes[0], image, t)
    axes[0].set_title(_wrap(t.sample.question, 44), fontsize=9, loc="left", parse_math=False)
    for i, axis in enumerate(axes[1:-1]):
        if i < len(views):
            axis.imshow(views[i])
            size = f"{views[i].width}x{views[i].height} px"
            axis.set_title(f"view {i + 1}: {size}, {t.magnifier}", fontsize=9, parse_math=False)
        else:
            axis.text(0.5, 0.5, "no view", ha="center", va="center", color=GREY)
    style = {"va": "top", "fontsize": 9, "family": "monospace", "parse_math": False}
    axes[-1].text(0, 1, text, transform=axes[-1].transAxes, **style)
    why = "" if t.outcome == Outcome.ANSWERED else f", {t.outcome.replace('_', ' ')}"
    title = f"{'right' if right([t])[0] else 'wrong'} ({change(t)}{why})"
    axes[-1].set_title(title, color=COLOURS[change(t)], fontsize=10, loc="left", parse_math=False)
    for axis in axes:
        axis.axis("off")
        axis.set_anchor("N")
    figure.tight_layout()
    return figure


def _draw_regions(axis, image, t: Trajectory) -> None:
    """The image with the regions that the policy wrote, named, and the target's boxes, dashed."""
    axis.imshow(image)
    for i, region in enumerate(t.regions):
        colour = BLUE if region.usable else RED
        _draw_box(axis, region.box, ec=colour, lw=2)
        x, y = min(max(region.box[0], 0), image.width), min(max(region.box[1], 0), image.height)  # stay on the image
        side = "top" if y < image.height / 8 else "bottom"
        axis.text(x, y, f"{i + 1} {region.outcome}", color="white", fontsize=8, backgroundcolor=colour, va=side)
    for box in t.sample.boxes:
        _draw_box(axis, box, ec="black", ls="--", lw=1)


def _draw_box(axis, box, **style) -> None:
    x0, y0, x1, y1 = box
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **style))


def _wrap(text: str, width: int) -> str:
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""])
