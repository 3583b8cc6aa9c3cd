"""Charts: candidates, training, accuracy, what views and other parts of the method add, costs, regions."""

import io
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mags_kit.config import BLANK, Config
from mags_kit.data import drawing, scenes
from mags_kit.evaluation.analysis import LABELS, NEED, X4PLUS
from mags_kit.evaluation.conditions import ALL, BICUBIC, CHECKPOINTS, MAIN, PLAIN
from mags_kit.method.magnifier import Magnifier
from mags_kit.records import Sample, Trajectory, area
from mags_kit.viz import draw

# Okabe and Ito's palette, safe for colour-blind readers
BLUE, ORANGE, GREEN, RED, GREY, LIGHT = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F", "#D9D9D9"
STYLE = {"axes.spines.top": False, "axes.spines.right": False}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2, "fontsize": 9, "frameon": False}
CONTRIBUTIONS = {  # title of a panel, by part of the method
    "magnifier": "magnifier, on small objects\nby quality of the source",
    "second round": "second round\nby size of the object",
    "RL": "reinforcement learning\nby density of the scene",
}


class Chart(Figure):
    """A figure that pyplot does not know: nothing to close, and a notebook shows it as the result of a cell."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, dpi=draw.DPI, bbox_inches="tight")
        return out.getvalue()


def chart(width: float, height: float, rows: int = 1, columns: int = 1, title: str = "", **options):
    """A chart of so many inches, and its axes `(rows, columns)`. No text is read as a formula: a $ is a dollar."""
    figure = Chart(figsize=(width, height), layout="constrained")
    with rc_context(STYLE):
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    (figure.suptitle if axes.size > 1 else axes[0, 0].set_title)(title, fontsize=12, parse_math=False)
    return figure, axes


def _legend(figure: Chart, axis) -> None:
    """Right of the chart, so that it hides nothing."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False)


def _rows(axis, names: list[str]) -> None:
    """A row of a horizontal chart for each name, the first on top."""
    axis.set_yticks(range(len(names)), names, parse_math=False)
    axis.set_ylim(len(names) - 0.5, -0.5)


def _intervals(results: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies in percent `(N,)`, and how far their intervals reach down and up `(2, N)`."""
    low, middle, high = (np.array([100 * r[key] for r in results]) for key in ("low", "accuracy", "high"))
    return middle, np.abs(np.array([middle - low, high - middle]))


def show_pool(pool: list[Sample], rates: dict[str, float], chosen: list[Sample]) -> Chart:
    """Solve rates of the candidates by family, and of the chosen ones."""
    families, picked = sorted({s.family for s in pool}), {s.id for s in chosen}
    levels = sorted({round(r, 3) for r in rates.values()})
    figure, axes = chart(3.4 * len(families) + 1, 3, 1, len(families), sharey=True)
    for axis, family in zip(axes.flat, families, strict=True):
        candidates = [s for s in pool if s.family == family]
        for label, ink, members in (
            ("candidates", GREY, candidates), ("chosen", BLUE, [s for s in candidates if s.id in picked]),
        ):  # fmt: skip
            counts = [sum(round(rates[s.id], 3) == level for s in members) for level in levels]
            axis.bar(range(len(levels)), counts, color=ink, label=label)
        axis.set(xlabel="solve rate of the base")
        axis.set_title(family, parse_math=False)
        axis.set_xticks(range(len(levels)), [f"{level:.2g}" for level in levels])
    axes[0, 0].set_ylabel("samples")
    axes[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, axes[0, 0])
    return figure


def show_training(log: list[dict], looks: list[dict], boundaries: list[int], title: str) -> Chart:
    """By step: the rewards, where the policy looked, how informative the groups were, and validation accuracy."""
    rows = [row for row in log if "reward" in row]
    figure, axes = chart(11, 8, 2, 2, title)
    reward, looking, learning, validation = axes.flat
    _curves(reward, rows, {k.split("/")[1]: k for k in rows[0] if k.startswith("rewards/") and k.endswith("/mean")})
    reward.set(title="rewards", ylabel="mean over the step's trajectories")
    shares = {"tool calls": "look/call_rate", "area of the regions": "look/area", "target covered": "look/coverage"}
    _curves(looking, rows, shares)
    looking.set(title="where it looks", ylabel="share", ylim=(-0.03, 1.03))
    shares = {
        "groups with right and wrong answers": "groups/mixed_answers", "groups without spread": "frac_reward_zero_std",
        "replies cut off": "completions/clipped_ratio",
    }  # fmt: skip
    _curves(learning, rows, shares)
    learning.set(title="what there is to learn from", ylabel="share", ylim=(-0.03, 1.03))
    nats = learning.twinx()
    nats.spines["top"].set_visible(False)
    _curves(nats, rows, {"entropy (right axis)": "entropy"}, color=GREY, ls="--")
    nats.set(ylabel="entropy of a token, nats", ylim=(0, None))
    validation.plot([r["step"] for r in looks], [100 * r["accuracy"] for r in looks], "o-", color=BLUE)
    n = looks[0]["samples"] if looks else 0
    validation.set(title=f"validation (greedy, {n} questions)", ylabel="accuracy, %", ylim=(0, 100))
    for axis in axes.flat:
        axis.set_xlabel("optimisation step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        for boundary in boundaries[:-1]:
            axis.axvline(boundary + 0.5, color="black", lw=0.8, ls=":", label="_")
        lines = axis.get_legend_handles_labels()[0] + (nats.get_legend_handles_labels()[0] if axis is learning else [])
        if lines:
            axis.legend(handles=lines, **BELOW)
    return figure


def _curves(axis, rows: list[dict], keys: dict[str, str], **style) -> None:
    """A curve for each key that any row has: there is no coverage without boxes, no area without regions."""
    for (name, key), ink in zip(keys.items(), cycle((BLUE, ORANGE, GREEN, RED, GREY)), strict=False):
        if any(key in row for row in rows):
            values = [row.get(key, np.nan) for row in rows]
            axis.plot([row["step"] for row in rows], values, **{"color": ink, "label": name} | style)


def show_results(metrics: dict, title: str) -> Chart:
    """Accuracy with 95% intervals: a row for each condition, a colour for each checkpoint."""
    results = metrics["conditions"]
    names, count = list(next(iter(results.values()))), len(results)
    figure, [[axis]] = chart(9, (0.3 * count + 0.05) * len(names) + 1.6, title=title)
    thick = 0.68 / count  # of a bar, in parts of a row
    for i, (checkpoint, ink) in enumerate(zip(results, (ORANGE, BLUE), strict=False)):
        middle, reach = _intervals([results[checkpoint][name] for name in names])
        at = np.arange(len(names)) + (thick + 0.02) * (i - (count - 1) / 2)
        bars = axis.barh(at, middle, thick, xerr=reach, color=ink, label=CHECKPOINTS[checkpoint], capsize=3)
        axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
    n = next(iter(results.values()))[names[0]]["n"]
    axis.set(xlim=(0, 105), xlabel=f"accuracy, % (bars: 95% interval, n = {n})")
    _rows(axis, names)
    _legend(figure, axis)
    return figure


def show_reward(steps: list[int], rewards: list[float], now: int | None = None) -> Chart:
    """The reward of one sample by step; a large dot on the step `now`."""
    figure, [[axis]] = chart(7, 2.4)
    axis.plot(steps, rewards, "o-", color=BLUE)
    if now is not None:
        axis.plot(now, rewards[steps.index(now)], "o", color=ORANGE, ms=10)
    axis.set(xlabel="optimisation step", ylabel="reward")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def show_needed(found: dict, checkpoint: str, title: str) -> Chart:
    """For each condition with a real view: questions by whether the view was needed, as stacked bars."""
    rows = found[checkpoint]["needed"]
    figure, [[axis]] = chart(9, 0.6 * len(rows) + 1.7, title=title)
    left = np.zeros(len(rows))
    for kind, ink in zip(NEED, (GREEN, BLUE, RED, LIGHT), strict=True):
        widths = np.array([100 * kinds[kind]["mean"] for kinds in rows.values()])
        bars = axis.barh(range(len(rows)), widths, 0.6, left=left, color=ink, label=kind)
        axis.bar_label(bars, [f"{wide:.0f}" if wide >= 4 else "" for wide in widths], label_type="center", fontsize=9)
        left += widths
    axis.set(xlim=(0, 100), xlabel="questions, %")
    _rows(axis, list(rows))
    _legend(figure, axis)
    return figure


def show_where(found: dict, checkpoint: str, title: str) -> Chart:
    """Two rounds less one by class of questions, in points with 95% intervals; hollow where not significant."""
    classes = found[checkpoint]["where"]
    rows = {f"{of}: {name}": row["difference"] for of, each in classes.items() for name, row in each.items()}
    figure, [[axis]] = chart(9, 0.36 * len(rows) + 1.5, title=title)
    for y, d in enumerate(rows.values()):
        middle, low, high = (100 * (d[key] or 0) for key in ("difference", "low", "high"))
        axis.plot([low, high], [y, y], color=BLUE, lw=1.5)
        axis.plot(middle, y, "o", color=BLUE, mfc="white" if d["tied"] else BLUE)
    axis.axvline(0, color="black", lw=0.8)
    _rows(axis, [f"{name} (n = {d['n']})" for name, d in rows.items()])
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -5), max(high, 5))  # also where there is no difference at all
    axis.set(xlabel="two rounds less one, points (95% interval; hollow: not significant)")
    return figure


def show_costs(metrics: dict, found: dict, costs: dict, checkpoint: str, title: str) -> Chart:
    """Accuracy against tokens per question, written and seen; a dot for each condition whose costs are known."""
    figure, [[axis]] = chart(9, 4.6, title=title)
    for (name, result), mark in zip(metrics["conditions"][checkpoint].items(), cycle("osD^vP*X<>hp"), strict=False):
        if name in costs.get(checkpoint, {}):
            written = found[checkpoint]["looking"][name]["written tokens"]
            tokens = written + costs[checkpoint][name]["visual tokens a question"]
            control = ALL[name].shows != "asked" or ALL[name].network == BLANK
            ink = ORANGE if ALL[name].rounds == 1 else GREY if control else BLUE
            [middle], reach = _intervals([result])
            axis.errorbar(tokens, middle, reach, fmt=mark, color=ink, elinewidth=1, label=name)
    axis.set(xlabel="tokens per question, written and seen", ylabel="accuracy, % (95% interval)")
    _legend(figure, axis)
    return figure


def show_worth(found: dict, title: str) -> Chart:
    """A panel for each part of the method: accuracy with and without it by class, with 95% intervals."""
    figure, axes = chart(4.1 * len(found), 4, 1, len(found), title, sharey=True)
    for axis, (part, classes) in zip(axes.flat, found.items(), strict=True):
        ways = [way for way in next(iter(classes.values())) if way != "difference"]
        inks = (GREY, ORANGE, BLUE, GREEN) if len(ways) > 2 else (ORANGE, BLUE)
        for i, (way, ink) in enumerate(zip(ways, inks, strict=False)):
            middle, reach = _intervals([row[way] for row in classes.values()])
            places = np.arange(len(classes)) + (i - (len(ways) - 1) / 2) * 0.13
            axis.errorbar(places, middle, reach, fmt="o", color=ink, capsize=2, label=way)
        names = [f"{value}\nn = {row['difference']['n']}" for value, row in classes.items()]
        axis.set_xticks(range(len(classes)), names)
        axis.set_title(CONTRIBUTIONS.get(part, part), fontsize=11)
        axis.set(ylim=(0, 100), xlim=(-0.5, len(classes) - 0.5))
        axis.grid(axis="y", color="0.9")
        axis.legend(**BELOW)
    axes[0, 0].set_ylabel("accuracy, % (95% interval)")
    return figure


def show_qualities(seed: int = 0, family: str = scenes.COUNT, cache_dir=None):
    """The same small object, photographed sharp, soft and poor, by each magnifier and as it was drawn: a picture."""
    networks = {ALL[name].network or Config.magnifier: LABELS[name] for name in (PLAIN, BICUBIC, MAIN, X4PLUS)}
    rows = []
    for quality in drawing.QUALITIES:
        scene = scenes.make_scene(seed, "validation", family, size=scenes.SMALL, quality=quality)
        shown = {}
        for network, label in networks.items():
            magnifier = Magnifier(network, 128 * 128, 32, cache_dir=cache_dir)
            shown[label], record = magnifier.view(scene.image, scene.cards[0].box)
        shown["as drawn"] = scene.close_up(record.box, (128, 128))
        rows += [draw.joined([draw.captioned(v, f"{quality}, {label}", draw.SIDE // 2) for label, v in shown.items()])]
    return draw.joined(rows, down=True)


def show_groups(values: dict[str, list[float]], label: str, title: str) -> Chart:
    """One row per name: a dot per seed, a line at their mean."""
    figure, [[axis]] = chart(9, 0.42 * len(values) + 1.4, title=title)
    for i, numbers in enumerate(values.values()):
        axis.plot(numbers, [i] * len(numbers), "o", color=BLUE, alpha=0.7)
        axis.plot([np.mean(numbers)] * 2, [i - 0.28, i + 0.28], color=ORANGE, lw=2.5)
    axis.set(xlabel=label, xlim=(0, 100))
    _rows(axis, list(values))
    axis.grid(axis="x", color="0.9")
    return figure


def show_regions(checkpoints: dict[str, list[Trajectory]]) -> Chart:
    """Sizes of the usable regions as shares of the image, and the places of their centres, by checkpoint."""
    figure, [[sizes, *places]] = chart(4 + 3.4 * len(checkpoints), 3.6, 1, 1 + len(checkpoints))
    for (checkpoint, trajectories), axis, ink in zip(checkpoints.items(), places, (ORANGE, BLUE), strict=False):
        boxes = [(r.box, t.size) for t in trajectories for r in t.regions if r.usable]
        areas = [area(box) / (size[0] * size[1]) for box, size in boxes]
        sizes.hist(areas, np.logspace(-4, 0, 33), color=ink, alpha=0.7, label=checkpoint)
        centres = np.array([((b[0] + b[2]) / 2 / s[0], (b[1] + b[3]) / 2 / s[1]) for b, s in boxes]).reshape(-1, 2)
        axis.plot(*centres.T, ".", color=ink, alpha=0.5, ms=4)
        axis.set(title=f"centres, {checkpoint}", xlim=(0, 1), ylim=(1, 0), aspect="equal")
        axis.set(xlabel="share of the width", ylabel="share of the height")
    sizes.set(xscale="log", title="sizes", xlabel="region's share of the image", ylabel="regions")
    sizes.legend(frameon=False)
    return figure
