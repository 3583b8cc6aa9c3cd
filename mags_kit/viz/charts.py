"""Charts of training, accuracy, what parts of the method add, costs and regions."""

import io
from itertools import cycle, product

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from mags_kit.evaluation.conditions import ALL, CHECKPOINTS
from mags_kit.evaluation.pass_at_k import ANY, MAJORITY
from mags_kit.records import Trajectory
from mags_kit.viz import draw

BLUE, RED, GREEN, _, ORANGE, _ = draw.PALETTE
GREY = "#7F7F7F"
INKS = BLUE, ORANGE, GREEN, RED, GREY
# Charts look alike whatever the user's matplotlibrc says, LaTeX and dark styles too; and a $ is a dollar
plain = style.context(["default", {"text.parse_math": False}])


class Chart(Figure):
    """A figure that pyplot does not know: nothing to close, and a notebook shows it as the result of a cell."""

    savefig = plain(Figure.savefig)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, dpi=draw.DPI, bbox_inches="tight")
        return out.getvalue()


def chart(width: float, height: float, title: str = "", rows: int = 1, columns: int = 1):
    """A chart of so many inches, and its axes `(rows, columns)`."""
    figure = Chart(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=12)
    return figure, axes


def legend(axis) -> None:
    """Right of the chart, so that it hides nothing; a name that occurs often has one line."""
    handles, names = axis.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    axis.legend(unique.values(), unique.keys(), loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _rows(axis, names: list[str]) -> None:
    """A row of a horizontal chart for each name, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", color="0.9")


def _intervals(axis, rows: dict[str, dict[str, dict]], key: str = "accuracy") -> None:
    """Values in percent with their 95% intervals, a colour for each version: `{row: {version: {key, "low", "high"}}}`;
    hollow where a difference is not significant."""
    inks = dict(zip(dict.fromkeys(version for row in rows.values() for version in row), INKS, strict=False))
    for y, versions in enumerate(rows.values()):
        for i, (version, values) in enumerate(versions.items()):
            low, middle, high = (100 * (values[name] or 0) for name in ("low", key, "high"))
            place, ink = y + 0.18 * (i - (len(versions) - 1) / 2), inks[version]
            axis.hlines(place, low, high, color=ink)
            axis.plot(middle, place, "o", color=ink, mfc="white" if values.get("tied") else ink, label=version)
    _rows(axis, list(rows))


@plain
def show_training(log: list[dict], validation: list[dict], boundaries: list[int], title: str) -> Chart:
    """By step: rewards, where the policy looked, how informative groups were (keys of the log), and validation."""
    rows = pd.DataFrame([row for row in log if "reward" in row]).set_index("step")
    columns = ["step", "accuracy", "withheld", "gain", "harm", "samples"]
    checked = pd.DataFrame(validation, columns=columns).set_index("step")
    panels = {
        "rewards, means": rows.filter(regex="^rewards/.*/mean$").rename(columns=lambda key: key[8:-5]),
        "where it looks, shares": rows.filter(["look/call_rate", "look/area", "look/coverage"]),
        "what there is to learn from, shares":
            rows.filter(["groups/mixed_answers", "frac_reward_zero_std", "completions/clipped_ratio"]),
        "entropy of a token, nats": rows.filter(["entropy"]),
        f"validation ({checked.samples.max()} questions), share":
            checked[["accuracy", "withheld"]].set_axis(["with the tool", "tool withheld"], axis=1),
        "what the tool changes there, share":
            checked[["gain", "harm"]].set_axis(["gain: right only with it", "harm: right only without"], axis=1),
    }  # fmt: skip
    figure, axes = chart(13, 8, title, 2, 3)
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=True):
        if curves.size:
            for number, name in enumerate(curves):  # the user's own rewards are dashed
                style = "-" if number < len(INKS) else "--"
                curves[name].plot(ax=axis, marker=".", ls=style, color=INKS[number % len(INKS)])
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
        axis.set(title=title, xlabel="optimisation step")
        axis.locator_params(axis="x", integer=True)
        if "share" in title:
            axis.set_ylim(-0.03, 1.03)
        for boundary in filter(None, boundaries[:-1]):
            axis.axvline(boundary + 0.5, color="black", lw=0.8, ls=":")
    return figure


@plain
def show_results(metrics: dict, title: str) -> Chart:
    """Accuracy with 95% intervals: a row for each condition, a colour for each checkpoint."""
    results = {CHECKPOINTS[checkpoint]: each for checkpoint, each in metrics["conditions"].items()}
    names = list(next(iter(results.values())))
    rows = {name: {c: each[name] for c, each in results.items() if name in each} for name in names}
    figure, [[axis]] = chart(9, 0.5 * len(rows) + 1.6, title)
    _intervals(axis, rows)
    n = next(iter(results.values()))[names[0]]["n"]
    axis.set(xlim=(0, 100), xlabel=f"accuracy, % (95% interval, n = {n})")
    legend(axis)
    return figure


@plain
def show_where(found: dict, checkpoint: str, title: str) -> Chart:
    """Two rounds less one by class of questions, in points with 95% intervals; hollow where not significant."""
    classes = found[checkpoint]["where"]
    rows = {f"{of}: {name}": row["difference"] for of, each in classes.items() for name, row in each.items()}
    figure, [[axis]] = chart(9, 0.36 * len(rows) + 1.5, title)
    _intervals(axis, {f"{name} (n = {d['n']})": {"": d} for name, d in rows.items()}, "difference")
    axis.axvline(0, color="black", lw=0.8)
    axis.set(xlabel="two rounds less one, points (95% interval; hollow: not significant)")
    return figure


@plain
def show_pass_at_k(found: dict, title: str) -> Chart:
    """pass@k by k, with 95% intervals, and dashed the majority of k; a colour for each checkpoint."""
    figure, [[axis]] = chart(8, 4.4, title)
    inks, lines = zip(CHECKPOINTS, INKS, strict=False), {ANY: "-", MAJORITY: "--"}.items()
    for (checkpoint, ink), (kind, line) in product(inks, lines):
        if rows := found.get(checkpoint, {}).get(kind):
            low, middle, high = (100 * np.array([row[name] for row in rows]) for name in ("low", "mean", "high"))
            axis.plot(found["k"], middle, f"o{line}", color=ink, ms=4, label=f"{kind}, {CHECKPOINTS[checkpoint]}")
            if kind == ANY:
                axis.fill_between(found["k"], low, high, color=ink, alpha=0.18, lw=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(found["k"], found["k"])
    axis.set(ylim=(0, 100), xlabel="k, sampled answers to a question", ylabel="questions answered right, %")
    axis.grid(axis="y", color="0.9")
    legend(axis)
    return figure


@plain
def show_costs(metrics: dict, found: dict, costs: dict, checkpoint: str, title: str) -> Chart:
    """Accuracy against tokens per question, written and seen; a dot for each condition whose costs are known."""
    figure, [[axis]] = chart(9, 4.6, title)
    inks = {"method": BLUE, "ablation": BLUE, "baseline": ORANGE, "control": GREY}
    for (name, result), mark in zip(metrics["conditions"][checkpoint].items(), cycle("osD^vP*X<>hp"), strict=False):
        if name in costs.get(checkpoint, {}):
            written = found[checkpoint]["looking"][name]["written tokens"]
            tokens = written + costs[checkpoint][name]["visual tokens a question"]
            axis.vlines(tokens, 100 * result["low"], 100 * result["high"], color=inks[ALL[name].kind])
            axis.plot(tokens, 100 * result["accuracy"], mark, color=inks[ALL[name].kind], label=name)
    axis.set(xlabel="tokens per question, written and seen", ylabel="accuracy, % (95% interval)")
    legend(axis)
    return figure


@plain
def show_worth(found: dict, title: str) -> Chart:
    """A panel for each part of the method: accuracy with and without it by class, with 95% intervals."""
    figure, axes = chart(4.1 * len(found), 4, title, 1, len(found))
    for axis, (part, classes) in zip(axes.flat, found.items(), strict=True):
        rows = {f"{name}\nn = {row['difference']['n']}": row for name, row in classes.items()}
        _intervals(axis, {row: {v: a for v, a in each.items() if v != "difference"} for row, each in rows.items()})
        axis.set(title=part, xlim=(0, 100), xlabel="accuracy, % (95% interval)")
        legend(axis)
    return figure


@plain
def show_frontier(marks: dict[str, dict[str, dict]], cost: float, title: str) -> Chart:
    """Accuracy against looks a question: a colour for each kind of policy, `{kind: {name: row}}` with rows of
    `strategies.row`; along the dotted line all earn as much as the best constant, where a look costs `cost`."""
    figure, [[axis]] = chart(9, 5, title)
    for (kind, rows), ink, form in zip(marks.items(), (GREY, ORANGE, GREEN, BLUE), "sDPo", strict=False):
        places = {}
        for name, row in rows.items():
            places.setdefault((row["looks"], 100 * row["right"]), []).append(name)
        for place, names in places.items():
            axis.plot(*place, form, color=ink, ms=7, label=kind)
            shift, side = ((7, "left"), (-7, "right"))[place[0] > 0.6]  # so that no name leaves the chart
            axis.annotate(", ".join(names), place, (shift, -4), textcoords="offset points", ha=side, color=ink)
    best = max(row["earned"] for row in marks["constant"].values())
    ends, sides = np.array(axis.get_xlim()), axis.get_ylim()
    axis.plot(ends, 100 * (best + cost * ends), ":", color=GREY, label=f"as the best constant, at {cost:g} a look")
    axis.set(xlim=ends, ylim=sides, xlabel="looks a question", ylabel="accuracy, %")
    legend(axis)
    return figure


@plain
def show_calls(logs: dict[str, list[list[dict]]], title: str) -> Chart:
    """By step of training, a panel for each name: shares of replies that call the tool, and dashed the rewards; a
    colour for each seed's log."""
    figure, axes = chart(11, 2.7 * len(logs) / 2 + 0.6, title, (len(logs) + 1) // 2, 2)
    for axis, (name, seeds) in zip(axes.flat, logs.items(), strict=False):
        for number, (log, ink) in enumerate(zip(seeds, INKS, strict=False)):
            rows = pd.DataFrame([row for row in log if "reward" in row]).set_index("step")
            calls, reward = (rows[key].rolling(5, 1).mean() for key in ("tools/call_frequency", "reward"))
            axis.plot(calls, color=ink, label="calls" if not number else None)
            axis.plot(reward, "--", color=ink, lw=0.9, label="reward" if not number else None)
        axis.set(title=name, xlabel="optimisation step (means of 5)", ylim=(-0.03, 1.25))
        axis.locator_params(axis="x", integer=True)
    axes.flat[0].legend(loc="lower left", frameon=False, ncols=2)
    return figure


@plain
def show_groups(values: dict[str, list[float]], label: str, title: str) -> Chart:
    """One row per name: a dot per seed, a line at their mean."""
    figure, [[axis]] = chart(9, 0.42 * len(values) + 1.4, title)
    for i, numbers in enumerate(values.values()):
        axis.plot(numbers, [i] * len(numbers), "o", color=BLUE, alpha=0.7)
        axis.vlines(np.mean(numbers), i - 0.28, i + 0.28, color=ORANGE, lw=2.5)
    axis.set(xlabel=label, xlim=(0, 100))
    _rows(axis, list(values))
    return figure


@plain
def show_regions(checkpoints: dict[str, list[Trajectory]]) -> Chart:
    """Sizes of the usable regions as shares of the image, and the places of their centres, by checkpoint."""
    figure, [[sizes, *places]] = chart(4 + 3.4 * len(checkpoints), 3.6, "", 1, 1 + len(checkpoints))
    for (checkpoint, trajectories), axis, ink in zip(checkpoints.items(), places, INKS, strict=False):
        shares = [np.array(r.box) / (t.size * 2) for t in trajectories for r in t.regions if r.usable]
        x0, y0, x1, y1 = np.array(shares).reshape(-1, 4).T
        sizes.hist((x1 - x0) * (y1 - y0), np.logspace(-4, 0, 33), color=ink, alpha=0.7, label=checkpoint)
        axis.plot((x0 + x1) / 2, (y0 + y1) / 2, ".", color=ink, alpha=0.5, ms=4)
        axis.set(title=f"centres, {checkpoint}", xlim=(0, 1), ylim=(1, 0), aspect="equal")
        axis.set(xlabel="share of the width", ylabel="share of the height")
    sizes.set(xscale="log", title="sizes", xlabel="region's share of the image", ylabel="regions")
    sizes.xaxis.set_major_formatter("{x:g}")
    sizes.legend(frameon=False)
    return figure
