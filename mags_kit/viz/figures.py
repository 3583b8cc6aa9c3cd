"""Figures of images: samples, what looking twice shows, trajectories. Notebooks show and save them."""

import functools
import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from mags_kit.images import open_image
from mags_kit.method.episode import Agent
from mags_kit.method.magnifier import draw_view
from mags_kit.method.metrics import BROKE, KEPT_RIGHT, KEPT_WRONG, NO_DRAFT, REPAIRED, change, right
from mags_kit.method.protocol import CALL
from mags_kit.records import RegionOutcome, Outcome, Sample, Trajectory, write_bytes
from mags_kit.viz.painting import BOX_TEXT, colour
from mags_kit.run import Run

# Okabe and Ito's palette, safe for colour-blind readers
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
COLOURS = {REPAIRED: GREEN, BROKE: RED, KEPT_RIGHT: BLUE, KEPT_WRONG: ORANGE, NO_DRAFT: GREY}
STYLE = {"figure.dpi": 110, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def styled(draw):
    """A function that draws in the kit's style, for the time of drawing only: a notebook's own settings stay.

    But for `interactive`: a notebook's first figure turns it on, and where that is undone no later one is shown.
    """

    @functools.wraps(draw)
    def drawing(*arguments, **options):
        with plt.rc_context(STYLE):
            figure, interactive = draw(*arguments, **options), plt.isinteractive()
        plt.rcParams["interactive"] = interactive
        return figure

    return drawing


def save(figure, run: Run, name: str) -> None:
    """Write a figure as PNG into the run's `figures`."""
    write_bytes(run.figures / f"{name}.png", png(figure))


def png(figure) -> bytes:
    """A figure as the content of a PNG file."""
    return content(figure, "png")


def content(figure, kind: str, tight: bool = True) -> bytes:
    """A figure as the content of a file of a kind that matplotlib knows: png, svg, pdf."""
    kinds = figure.canvas.get_supported_filetypes()
    if kind not in kinds:
        raise ValueError(f"a figure cannot be written as {kind!r}; expected one of {', '.join(kinds)}")
    out, metadata = io.BytesIO(), {"Date": None} if kind == "svg" else None
    with plt.rc_context({"svg.hashsalt": "mags-kit"}):  # so that the same figure is the same file
        figure.savefig(out, format=kind, bbox_inches="tight" if tight else None, metadata=metadata)
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
        title = f"{wrap(sample.question, 38)}\nanswer: {sample.truth}"
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
        asked = wrap(f"{sample.question} ({sample.truth})", 44)
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
    """One trajectory: the image with its regions, each as the image has it and as the policy saw it, both replies and
    the verdict."""
    return show_beside({"": t}, folder, cache_dir)


@styled
def show_beside(checkpoints: dict[str, Trajectory], folder: str | Path, cache_dir=None):
    """Trajectories under each other, each with the name it is given, e.g. one sample before and after RL."""
    texts = [_text(t) for t in checkpoints.values()]
    heights = [max(4.4, 0.165 * text.count("\n") + 1.0) for text in texts]  # inches: a long reply needs them
    columns = max(1, *(len(t.views) for t in checkpoints.values()))
    figure = plt.figure(figsize=(4.2 + 2.4 * columns + 4.8, sum(heights)), layout="constrained")
    rows = figure.subfigures(len(checkpoints), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, (name, t), text in zip(rows, checkpoints.items(), texts, strict=True):
        _draw_trajectory(row, t, text, open_image(Path(folder, t.sample.image)), columns, name, cache_dir)
    return figure


def _text(t: Trajectory) -> str:
    """Replies, draft, answer, truth and reward, in lines."""
    lines = [f"round {i + 1}:\n{wrap(reply, 60)}\n" for i, reply in enumerate(t.replies)]
    truth = f"   truth: {t.sample.truth}" * bool(t.sample.answer)
    lines += [f"draft: {t.draft or '–'}   answer: {t.answer or '–'}{truth}"]
    if t.rewards:
        lines += [wrap("reward: " + ", ".join(f"{name} {value:.2f}" for name, value in t.rewards.items()), 60)]
    return "\n".join(lines)


def _draw_trajectory(figure, t: Trajectory, text: str, image, columns: int, name: str, cache_dir) -> None:
    grid = figure.add_gridspec(2, 2 + columns, width_ratios=[4.2, *[2.4] * columns, 4.8])
    whole, said = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[:, -1])
    draw_regions(whole, image, t)
    asked = wrap(t.sample.question, 44)
    whole.set_title(f"{name}\n{asked}" if name else asked, fontsize=9, loc="left", parse_math=False)
    places = [i for i, region in enumerate(t.regions) if region.usable]
    for column in range(columns if t.views else 0):
        if column < len(t.views):
            view, place = t.views[column], places[column]
            crop = image.crop(view.box)
            magnified = draw_view(image, view, t.magnifier, cache_dir)
            for row, picture, what in ((0, crop, "in the image"), (1, magnified, t.magnifier)):
                axis = figure.add_subplot(grid[row, 1 + column])
                axis.imshow(picture)
                title = f"{place + 1}: {picture.width}x{picture.height} px, {what}"
                axis.set_title(title, fontsize=8, color=colour(place), parse_math=False)
                axis.axis("off")
    if not t.views:
        axis = figure.add_subplot(grid[:, 1])
        axis.text(0.5, 0.5, "no view", ha="center", va="center", color=GREY)
        axis.axis("off")
    style = {"va": "top", "fontsize": 9, "family": "monospace", "parse_math": False}
    for ink, layer in _layers(text, len(t.regions)).items():
        said.text(0, 1, layer, transform=said.transAxes, color=ink, **style)
    result, style = _result(t)
    said.set_title(result, fontsize=10, loc="left", **style)
    for axis in (whole, said):
        axis.axis("off")
        axis.set_anchor("N")


def _layers(text: str, regions: int) -> dict[str, str]:
    """Colour -> the text with all but that colour's letters blank: the boxes of round 1 in those of the image.

    The layers lie on each other, and letters are equally wide.
    """
    start = text.find(CALL[0])
    found = [*BOX_TEXT.finditer(text, start)][:regions] if 0 <= start else []
    layers = {colour(i): " " * m.start() + m.group() + " " * (len(text) - m.end()) for i, m in enumerate(found)}
    rest = list(text)
    for match in found:
        rest[match.start() : match.end()] = " " * len(match.group())
    lines = [i for i, letter in enumerate(text) if letter == "\n"]
    layers = {ink: "".join("\n" if i in lines else a for i, a in enumerate(layer)) for ink, layer in layers.items()}
    return {"black": "".join("\n" if i in lines else a for i, a in enumerate(rest))} | layers


def _result(t: Trajectory) -> tuple[str, dict]:
    """What became of a trajectory, in words, and the colour that they have."""
    why = "" if t.outcome == Outcome.ANSWERED else f", {t.outcome.replace('_', ' ')}"
    if not t.sample.answer:
        return f"no truth given{why}", {"color": GREY}
    return f"{'right' if right([t])[0] else 'wrong'} ({change(t)}{why})", {"color": COLOURS[change(t)]}


@styled
def show_strip(trajectories: list[Trajectory], folder: str | Path, cache_dir=None):
    """Several trajectories side by side, in brief: the image with its regions, the first view, what was said."""
    count = len(trajectories)
    figure, axes = plt.subplots(
        2, count, figsize=(3.1 * count, 6.2), squeeze=False, height_ratios=[3, 2], layout="constrained"
    )
    for (whole, close), t in zip(axes.T, trajectories, strict=True):
        image = open_image(Path(folder, t.sample.image))
        draw_regions(whole, image, t)
        whole.set_title(wrap(t.sample.question, 34), fontsize=9, loc="left", parse_math=False)
        if t.views:
            close.imshow(draw_view(image, t.views[0], t.magnifier, cache_dir))
        truth = f" (truth: {t.sample.truth})" if t.sample.answer else ""
        said, style = _result(t)
        text = f"{t.draft or '–'} → {t.answer or '–'}{truth}"
        close.set_title(f"{wrap(text, 34)}\n{said}", fontsize=9, loc="left", parse_math=False, **style)
        whole.axis("off")
        close.axis("off")
    return figure


def draw_regions(axis, image, t: Trajectory) -> None:
    """The image with the regions that the policy wrote, numbered, and the target's boxes, dashed."""
    axis.imshow(image)
    for i, region in enumerate(t.regions):
        _draw_box(axis, region.box, ec="white", lw=4)
        _draw_box(axis, region.box, ec=colour(i), lw=2, ls="-" if region.usable else "--")
        x, y = min(max(region.box[0], 0), image.width), min(max(region.box[1], 0), image.height)  # stay on the image
        side = "top" if y < image.height / 8 else "bottom"
        patch = {"facecolor": colour(i), "edgecolor": "none", "pad": 1.5}
        text = str(i + 1) if region.outcome == RegionOutcome.OK else f"{i + 1} {region.said}"
        inside = {"xytext": (1.5, -2.5 if side == "top" else 0), "textcoords": "offset points"}  # of the image's edge
        axis.annotate(text, (x, y), **inside, color="white", fontsize=8, bbox=patch, va=side, clip_on=True)
    for box in t.sample.boxes:
        _draw_box(axis, box, ec="black", ls="--", lw=1)
    axis.set(xlim=(0, image.width), ylim=(image.height, 0))


def _draw_box(axis, box, **style) -> None:
    x0, y0, x1, y1 = box
    axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **style))


def wrap(text: str, width: int) -> str:
    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""])
