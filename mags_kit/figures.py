"""Static figures. Every function returns a matplotlib figure; notebooks show and save them."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from mags_kit import evaluation
from mags_kit.data import load_image
from mags_kit.magnifier import draw_view
from mags_kit.records import Sample, Trajectory

# Okabe and Ito's palette, safe for colour-blind readers
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
VERDICTS = {"repaired": GREEN, "broke": RED, "kept right": BLUE, "kept wrong": ORANGE, "no draft": GREY}
plt.rcParams |= {"figure.dpi": 110, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def save(figure, path: str | Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    figure.savefig(partial, format="png", bbox_inches="tight")
    partial.replace(path)


def show_samples(samples: list[Sample], folder: str | Path, columns: int = 3):
    """Images with their questions; the box that holds the answer, which training never sees, is dashed."""
    rows = -(-len(samples) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 4.1 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, sample in zip(axes.flat, samples, strict=False):
        axis.imshow(load_image(Path(folder) / sample.image))
        for x0, y0, x1, y1 in sample.boxes:
            axis.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="black", ls="--", lw=1.2))
        title = f"{_wrap(sample.question, 38)}\nanswer: {sample.answer}"
        axis.set_title(title, fontsize=9, loc="left", parse_math=False)  # a $ is a dollar
    figure.tight_layout()
    return figure


def show_pool(pool: list[Sample], rates: dict[str, float], chosen: list[Sample]):
    """Solve rates of the candidates by family, and of the chosen ones."""
    families, picked = sorted({s.family for s in pool}), {s.id for s in chosen}
    levels = sorted({round(r, 3) for r in rates.values()})
    figure, axes = plt.subplots(1, len(families), figsize=(3.4 * len(families), 2.9), sharey=True, squeeze=False)
    for axis, family in zip(axes.flat, families, strict=True):
        for members, colour, label in (
            ([s for s in pool if s.family == family], GREY, "candidates"),
            ([s for s in pool if s.family == family and s.id in picked], BLUE, "chosen"),
        ):
            counts = [sum(round(rates[s.id], 3) == level for s in members) for level in levels]
            axis.bar(range(len(levels)), counts, color=colour, label=label)
        axis.set(title=family, xlabel="solve rate of the base")
        axis.set_xticks(range(len(levels)), [f"{level:.2g}" for level in levels])
    axes[0, 0].set_ylabel("samples")
    axes[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


def show_training(log: list[dict], looks: list[dict], boundaries: list[int], title: str):
    """Reward and its parts, what the policy looked at, and validation accuracy over optimisation steps."""
    rows = [row for row in log if "reward" in row]
    steps = [row["step"] for row in rows]
    figure, axes = plt.subplots(1, 3, figsize=(12, 4))
    parts = {k.split("/")[1]: k for k in rows[0] if k.startswith("rewards/") and k.endswith("/mean")}
    for (name, key), colour in zip(parts.items(), (BLUE, ORANGE, GREEN, RED, GREY), strict=False):
        axes[0].plot(steps, [row[key] for row in rows], color=colour, label=name)
    axes[0].set(title="reward, part by part", ylabel="mean over the step's trajectories")
    curves = {
        "tool calls": "look/call_rate", "target covered": "look/coverage", "area looked at": "look/area",
        "groups without spread": "frac_reward_zero_std",
    }  # fmt: skip
    for (name, key), colour in zip(curves.items(), (BLUE, GREEN, RED, GREY), strict=True):
        if any(key in row for row in rows):  # no target without boxes, no area without regions
            axes[1].plot(steps, [row.get(key, np.nan) for row in rows], color=colour, label=name)
    axes[1].set(title="where it looks", ylabel="share", ylim=(-0.03, 1.03))
    axes[2].plot([r["step"] for r in looks], [100 * r["accuracy"] for r in looks], "o-", color=BLUE)
    n = looks[0]["samples"] if looks else 0
    axes[2].set(title=f"validation (greedy, {n} questions)", ylabel="accuracy, %", ylim=(0, 100))
    for axis in axes:
        axis.set_xlabel("optimisation step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        for boundary in boundaries[:-1]:
            axis.axvline(boundary + 0.5, color="black", lw=0.8, ls=":")
    for axis in axes[:2]:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    return figure


def show_base_training(log):
    """Per phase of the embedded base's training: loss, and the share of its targets that it gets right.

    `log` is a table with phase, step, loss and a column per target.
    """
    phases = list(log.phase.unique())
    figure, axes = plt.subplots(2, len(phases), figsize=(3.6 * len(phases), 6), squeeze=False, sharex="col")
    for (top, bottom), phase in zip(axes.T, phases, strict=True):
        rows = log[log.phase == phase].dropna(axis=1, how="all").set_index("step")
        top.plot(rows.loss, color=BLUE)
        top.set(title=f"phase “{phase}”")
        for name in rows.columns.difference(["phase", "loss", "offset_px", "uneven"]):
            bottom.plot(rows[name], label=name, lw=1.2)
        bottom.set(xlabel="optimisation step", ylim=(-0.03, 1.03))
        bottom.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, frameon=False, fontsize=7)
    axes[0, 0].set_ylabel("loss, nats")
    axes[1, 0].set_ylabel("share right, one batch")
    figure.suptitle("Training of the embedded base (tiny model)", fontsize=11)
    figure.tight_layout()
    return figure


def show_results(found: dict, title: str):
    """Accuracy with 95% intervals: conditions, before and after RL."""
    moments, names = list(found["conditions"]), list(next(iter(found["conditions"].values())))
    figure, axis = plt.subplots(figsize=(8, 0.65 * len(names) + 1.6))
    for i, (moment, colour) in enumerate(zip(moments, (ORANGE, BLUE), strict=False)):
        values = [found["conditions"][moment][name] for name in names]
        at = np.arange(len(names)) + 0.36 * (i - (len(moments) - 1) / 2)
        mid = np.array([100 * v["accuracy"] for v in values])
        spread = np.abs(np.array([[100 * v["low"], 100 * v["high"]] for v in values]).T - mid)
        axis.barh(at, mid, 0.34, xerr=spread, color=colour, label=f"{moment} RL", error_kw={"capsize": 3, "lw": 1})
        for y, x, wide in zip(at, mid, spread[1], strict=True):
            axis.text(x + wide + 1, y, f"{x:.0f}", va="center", fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(xlim=(0, 105), xlabel=f"accuracy, % (bars: 95% Wilson interval, n = {values[0]['n']})", title=title)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


def show_groups(values: dict[str, list[float]], label: str, title: str):
    """One row per name: a dot per seed, a line at their mean."""
    figure, axis = plt.subplots(figsize=(8, 0.42 * len(values) + 1.3))
    for i, numbers in enumerate(values.values()):
        axis.plot(numbers, [i] * len(numbers), "o", color=BLUE, alpha=0.7)
        axis.plot([np.mean(numbers)] * 2, [i - 0.28, i + 0.28], color=ORANGE, lw=2.5)
    axis.set_yticks(range(len(values)), list(values))
    axis.invert_yaxis()
    axis.set(xlabel=label, title=title, xlim=(0, 100))
    axis.grid(axis="x", color="0.9")
    figure.tight_layout()
    return figure


def show_looks(samples: list[Sample], folder: str | Path, policy, magnifier, pixels: int):
    """For each sample: the first view, its target as the first view shows it, and the target magnified.

    Where the data have no box of the target, the middle of the image stands for it.
    """
    figure, axes = plt.subplots(len(samples), 3, figsize=(9, 3.2 * len(samples)), squeeze=False)
    for (whole, before, after), sample in zip(axes, samples, strict=True):
        image = load_image(Path(folder) / sample.image)
        middle = tuple(round(side * share) for share in (0.4, 0.6) for side in image.size)
        box, what = (sample.boxes[0], "target") if sample.boxes else (middle, "middle")
        first, (magnified, record) = policy.first_view(image, pixels), magnifier.view(image, box)
        scale = first.width / image.width
        small = first.crop([round(v * scale) for v in record.box])
        asked = _wrap(f"{sample.question} ({sample.answer})", 44)
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


def show_regions(made: dict[str, list[Trajectory]]):
    """Sizes of the usable regions as shares of the image, and the places of their centres, for each moment."""
    figure, (sizes, *places) = plt.subplots(1, 1 + len(made), figsize=(4 + 3.2 * len(made), 3.4))
    bins = np.logspace(-4, 0, 33)
    for (moment, trajectories), axis, colour in zip(made.items(), places, (ORANGE, BLUE), strict=False):
        boxes = [(r.box, t.size) for t in trajectories for r in t.regions if r.usable]
        areas = [(b[2] - b[0]) * (b[3] - b[1]) / (s[0] * s[1]) for b, s in boxes]
        sizes.hist(areas, bins, color=colour, alpha=0.7, label=f"{moment} RL")
        centres = np.array([((b[0] + b[2]) / 2 / s[0], (b[1] + b[3]) / 2 / s[1]) for b, s in boxes]).reshape(-1, 2)
        axis.plot(*centres.T, ".", color=colour, alpha=0.5, ms=4)
        axis.set(title=f"centres, {moment} RL", xlim=(0, 1), ylim=(1, 0), xlabel="share of the width", aspect="equal")
        axis.set_ylabel("share of the height")
    sizes.set(xscale="log", title="sizes", xlabel="region's share of the image", ylabel="regions")
    sizes.legend(frameon=False)
    figure.tight_layout()
    return figure


def show_trajectory(t: Trajectory, folder: str | Path, cache_dir=None):
    """One trajectory: the image with its regions, the views as the policy saw them, both replies and the verdict."""
    image = load_image(Path(folder) / t.sample.image)
    views = [draw_view(image, view, t.magnifier, cache_dir) for view in t.views]
    replies = [f"round {i + 1}:\n{_wrap(reply, 60)}" for i, reply in enumerate(t.replies)]
    text = "\n\n".join([*replies, f"draft: {t.draft}   answer: {t.answer}   truth: {t.sample.answer}"])
    widths = [4.2, *[3] * max(1, len(views)), 4.8]  # inches, as is the height: the text decides where it is long
    size = sum(widths), max(4.2, 0.165 * text.count("\n") + 0.8)
    figure, axes = plt.subplots(1, len(widths), figsize=size, width_ratios=widths)
    axes[0].imshow(image)
    axes[0].set_title(_wrap(t.sample.question, 44), fontsize=9, loc="left", parse_math=False)
    for i, region in enumerate(t.regions):
        x0, y0, x1, y1 = region.box
        colour = BLUE if region.usable else RED
        axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, lw=2))
        x, y = min(max(x0, 0), image.width), min(max(y0, 0), image.height)  # its name stays on the image
        side = "top" if y < image.height / 8 else "bottom"
        axes[0].text(x, y, f"{i + 1} {region.outcome}", color="white", fontsize=8, backgroundcolor=colour, va=side)
    for x0, y0, x1, y1 in t.sample.boxes:
        axes[0].add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="black", ls="--", lw=1))
    for i, axis in enumerate(axes[1:-1]):
        if i < len(views):
            axis.imshow(views[i])
            axis.set_title(f"view {i + 1}: {views[i].width}x{views[i].height} px, {t.magnifier}", fontsize=9)
        else:
            axis.text(0.5, 0.5, "no view", ha="center", va="center", color=GREY)
    verdict = evaluation.change(t)
    style = {"va": "top", "fontsize": 9, "family": "monospace", "parse_math": False}
    axes[-1].text(0, 1, text, transform=axes[-1].transAxes, **style)
    why = "" if t.outcome == "answered" else f", {t.outcome.replace('_', ' ')}"
    title = f"{'right' if evaluation.right([t])[0] else 'wrong'} ({verdict}{why})"
    axes[-1].set_title(title, color=VERDICTS[verdict], fontsize=10, loc="left")
    for axis in axes:
        axis.axis("off")
        axis.set_anchor("N")
    figure.tight_layout()
    return figure


def _wrap(text: str, width: int) -> str:
    import textwrap

    return "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""])
