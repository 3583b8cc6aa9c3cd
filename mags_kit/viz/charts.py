"""Charts of numbers: candidates, training, accuracy, regions. Notebooks show and save them."""

import matplotlib.pyplot as plt
import numpy as np

from mags_kit.config import BLANK
from mags_kit.records import Sample, Trajectory, area, write_bytes
from mags_kit.viz import figures
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS
from mags_kit.viz.figures import BLUE, GREEN, GREY, ORANGE, RED, styled
from mags_kit.evaluation.analysis import NEED, told
from mags_kit.run import Run

LIGHT = "#D9D9D9"


def save(figure, run: Run, name: str) -> None:
    """Write a chart as PNG and as SVG into the run's `figures`."""
    figures.save(figure, run, name)
    write_bytes(run.figures / f"{name}.svg", figures.content(figure, "svg"))


@styled
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
        axis.set(xlabel="solve rate of the base")
        axis.set_title(family, parse_math=False)  # a $ is a dollar, here and below: names come with the data
        axis.set_xticks(range(len(levels)), [f"{level:.2g}" for level in levels])
    axes[0, 0].set_ylabel("samples")
    axes[0, -1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


@styled
def show_training(log: list[dict], looks: list[dict], boundaries: list[int], title: str):
    """Reward and its parts, what the policy looked at, what there was to learn, and validation accuracy by step."""
    rows = [row for row in log if "reward" in row]
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 8))
    reward, looking, learning, validation = axes.flat
    parts = {k.split("/")[1]: k for k in rows[0] if k.startswith("rewards/") and k.endswith("/mean")}
    _curves(reward, rows, parts, (BLUE, ORANGE, GREEN, RED, GREY))
    reward.set(title="reward, part by part", ylabel="mean over the step's trajectories")
    looks_at = {"tool calls": "look/call_rate", "target covered": "look/coverage", "area looked at": "look/area"}
    _curves(looking, rows, looks_at, (BLUE, GREEN, RED))
    looking.set(title="where it looks", ylabel="share", ylim=(-0.03, 1.03))
    signs = {
        "groups with right and wrong answers": "groups/mixed_answers",
        "groups without spread": "frac_reward_zero_std", "replies cut off": "completions/clipped_ratio",
    }  # fmt: skip
    _curves(learning, rows, signs, (BLUE, GREY, RED))
    learning.set(title="what there is to learn from", ylabel="share", ylim=(-0.03, 1.03))
    nats = learning.twinx()
    _curves(nats, rows, {"entropy (right)": "entropy"}, (ORANGE,), ls="--")
    nats.set(ylabel="entropy of a token, nats", ylim=(0, None))
    nats.spines["right"].set_visible(True)
    validation.plot([r["step"] for r in looks], [100 * r["accuracy"] for r in looks], "o-", color=BLUE)
    n = looks[0]["samples"] if looks else 0
    validation.set(title=f"validation (greedy, {n} questions)", ylabel="accuracy, %", ylim=(0, 100))
    for axis in axes.flat:
        axis.set_xlabel("optimisation step")
        axis.xaxis.get_major_locator().set_params(integer=True)
        for boundary in boundaries[:-1]:
            axis.axvline(boundary + 0.5, color="black", lw=0.8, ls=":")
    for axis in (reward, looking, learning):
        lines = [*axis.lines, *nats.lines] if axis is learning else axis.lines
        lines = [line for line in lines if not line.get_label().startswith("_")]
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2, "frameon": False, "fontsize": 8}
        axis.legend(handles=lines, **place)
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.tight_layout()
    return figure


def _curves(axis, rows: list[dict], keys: dict[str, str], colours: tuple, **style) -> None:
    """A curve for each key that a row has: no target without boxes, no area without regions."""
    for (name, key), colour in zip(keys.items(), colours, strict=False):
        if any(key in row for row in rows):
            values = [row.get(key, np.nan) for row in rows]
            axis.plot([row["step"] for row in rows], values, color=colour, label=name, **style)


@styled
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


@styled
def show_results(metrics: dict, title: str):
    """Accuracy with 95% intervals: conditions, before and after RL, or of a model alone."""
    checkpoints, names = list(metrics["conditions"]), list(next(iter(metrics["conditions"].values())))
    figure, axis = plt.subplots(figsize=(8, (0.3 * len(checkpoints) + 0.05) * len(names) + 1.6))
    thick = 0.68 / len(checkpoints)  # of a bar, in parts of a condition's room
    for i, (checkpoint, colour) in enumerate(zip(checkpoints, (ORANGE, BLUE), strict=False)):
        values = [metrics["conditions"][checkpoint][name] for name in names]
        at = np.arange(len(names)) + (thick + 0.02) * (i - (len(checkpoints) - 1) / 2)
        mid = np.array([100 * v["accuracy"] for v in values])
        spread = np.abs(np.array([[100 * v["low"], 100 * v["high"]] for v in values]).T - mid)
        axis.barh(at, mid, thick, xerr=spread, color=colour, label=CHECKPOINTS[checkpoint], error_kw={"capsize": 3, "lw": 1})
        for y, x, wide in zip(at, mid, spread[1], strict=True):
            axis.text(x + wide + 1, y, f"{x:.0f}", va="center", fontsize=9)
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xlim=(0, 105), xlabel=f"accuracy, % (bars: 95% interval, n = {values[0]['n']})")
    axis.set_title(title, parse_math=False)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


@styled
def show_needed(found: dict, checkpoint: str, title: str):
    """For each condition with a real view: the questions by what they owe to it, one bar in parts."""
    rows = found[checkpoint]["needed"]
    figure, axis = plt.subplots(figsize=(8, 0.6 * len(rows) + 1.5))
    left = np.zeros(len(rows))
    for kind, colour in zip(NEED, (GREEN, BLUE, RED, LIGHT), strict=True):
        widths = np.array([100 * kinds[kind]["mean"] for kinds in rows.values()])
        axis.barh(range(len(rows)), widths, 0.6, left=left, color=colour, label=kind)
        for y, (start, wide) in enumerate(zip(left, widths, strict=True)):
            if wide >= 4:
                axis.text(start + wide / 2, y, f"{wide:.0f}", ha="center", va="center", fontsize=9)
        left += widths
    axis.set_yticks(range(len(rows)), list(rows))
    axis.invert_yaxis()
    axis.set(xlim=(0, 100), xlabel="questions, %")
    axis.set_title(title, parse_math=False)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
    figure.tight_layout()
    return figure


@styled
def show_where(found: dict, checkpoint: str, title: str):
    """Two rounds less one by classes of questions, in points with 95% intervals; hollow where tied."""
    classes = found[checkpoint]["where"]
    rows = [(f"{grouping}: {told(name)}", d) for grouping, each in classes.items() for name, d in each.items()]
    figure, axis = plt.subplots(figsize=(8, 0.36 * len(rows) + 1.4))
    for y, (_, d) in enumerate(rows):
        middle, low, high = (100 * (d[key] or 0) for key in ("difference", "low", "high"))
        axis.plot([low, high], [y, y], color=BLUE, lw=1.5)
        axis.plot(middle, y, "o", color=BLUE, mfc="white" if d["tied"] else BLUE)
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks(range(len(rows)), [f"{name} (n = {d['n']})" for name, d in rows], fontsize=9, parse_math=False)
    axis.invert_yaxis()
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -5), max(high, 5))  # where nothing differs, too
    axis.set(xlabel="two rounds less one, points (95% interval; hollow: tied after Holm)")
    axis.set_title(title, parse_math=False)
    figure.tight_layout()
    return figure


@styled
def show_costs(metrics: dict, found: dict, costs: dict, checkpoint: str, title: str):
    """Accuracy against tokens of a question, written and seen; a dot for each condition whose costs are noted."""
    figure, axis = plt.subplots(figsize=(8, 4.6))
    dots = {}
    for number, (name, result) in enumerate(metrics["conditions"][checkpoint].items(), 1):
        if name not in costs.get(checkpoint, {}):
            continue
        looked = found[checkpoint]["looking"][name]
        tokens = looked["written tokens"] + costs[checkpoint][name]["visual tokens a question"]
        accuracy = 100 * result["accuracy"]
        control = ALL[name].shows != "asked" or ALL[name].network == BLANK
        colour = ORANGE if ALL[name].rounds == 1 else GREY if control else BLUE
        axis.plot([tokens] * 2, [100 * result["low"], 100 * result["high"]], color=colour, lw=1, alpha=0.6)
        axis.plot(tokens, accuracy, "o", color=colour, label=f"{number} {name}")
        dots[str(number)] = tokens, accuracy
    for place, numbers in _gathered(dots).items():
        axis.annotate(", ".join(numbers), place, (-5, 4), textcoords="offset points", ha="right", fontsize=8)
    axis.set(xlabel="tokens of a question, written and seen", ylabel="accuracy, % (95% interval)")
    axis.set_title(title, parse_math=False)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


def _gathered(dots: dict[str, tuple[float, float]]) -> dict[tuple[float, float], list[str]]:
    """Place -> the names of the dots on it or so near, in parts of the chart, that their labels would overlap."""
    near, places = np.ptp([*dots.values()] or [(0, 0)], axis=0) * (0.12, 0.06), {}
    for name, dot in dots.items():
        place = next((p for p in places if (np.abs(np.subtract(p, dot)) <= near).all()), dot)
        places.setdefault(place, []).append(name)
    return places


@styled
def show_groups(values: dict[str, list[float]], label: str, title: str):
    """One row per name: a dot per seed, a line at their mean."""
    figure, axis = plt.subplots(figsize=(8, 0.42 * len(values) + 1.3))
    for i, numbers in enumerate(values.values()):
        axis.plot(numbers, [i] * len(numbers), "o", color=BLUE, alpha=0.7)
        axis.plot([np.mean(numbers)] * 2, [i - 0.28, i + 0.28], color=ORANGE, lw=2.5)
    axis.set_yticks(range(len(values)), list(values), parse_math=False)
    axis.invert_yaxis()
    axis.set(xlabel=label, xlim=(0, 100))
    axis.set_title(title, parse_math=False)
    axis.grid(axis="x", color="0.9")
    figure.tight_layout()
    return figure


@styled
def show_regions(checkpoints: dict[str, list[Trajectory]]):
    """Sizes of the usable regions as shares of the image, and the places of their centres, for each checkpoint."""
    figure, (sizes, *places) = plt.subplots(1, 1 + len(checkpoints), figsize=(4 + 3.2 * len(checkpoints), 3.4))
    bins = np.logspace(-4, 0, 33)
    for (checkpoint, trajectories), axis, colour in zip(checkpoints.items(), places, (ORANGE, BLUE), strict=False):
        boxes = [(r.box, t.size) for t in trajectories for r in t.regions if r.usable]
        areas = [area(box) / (size[0] * size[1]) for box, size in boxes]
        sizes.hist(areas, bins, color=colour, alpha=0.7, label=f"{checkpoint} RL")
        centres = np.array([((b[0] + b[2]) / 2 / s[0], (b[1] + b[3]) / 2 / s[1]) for b, s in boxes]).reshape(-1, 2)
        axis.plot(*centres.T, ".", color=colour, alpha=0.5, ms=4)
        axis.set(title=f"centres, {checkpoint} RL", xlim=(0, 1), ylim=(1, 0), xlabel="share of the width", aspect="equal")
        axis.set_ylabel("share of the height")
    sizes.set(xscale="log", title="sizes", xlabel="region's share of the image", ylabel="regions")
    sizes.legend(frameon=False)
    figure.tight_layout()
    return figure
