"""The picture of a benchmark: rollouts, a training step by part, views, and growth."""

import matplotlib.pyplot as plt
import numpy as np

from mags_kit.report.figures import BLUE, GREEN, GREY, ORANGE, RED, styled

LINES = (BLUE, ORANGE, GREEN, RED, GREY, "black", "#CC79A7")  # Okabe and Ito's purple


@styled
def show_speeds(rows: list[dict], title: str):
    """Bars of medians with quartiles, and times by size relative to the smallest; `rows` as `bench.json` has them.

    A part that was not measured leaves its panel empty.
    """
    rollouts = [row for row in rows if row["unit"] == "rollouts/s"]
    parts = [row for row in rows if row["part"] == "training step" and row["unit"] == "s"]
    views = [row for row in rows if row["unit"] == "views/s"]
    tall = max(len(rollouts) + len(views), len(parts) + 14)
    figure, axes = plt.subplots(2, 2, figsize=(14, 0.28 * tall + 3), layout="constrained")
    _bars(
        axes[0, 0],
        rollouts,
        "two-round rollouts a second",
        lambda row: BLUE if row["name"].startswith("batch") else ORANGE,
    )
    axes[0, 0].set_title("rollouts: the kit (blue), others (orange)")
    _bars(axes[0, 1], parts, "seconds", lambda row: GREY if "no model" in row["note"] else BLUE)
    axes[0, 1].set_title("a training step: a model's compute (blue), the rest (grey)")
    _bars(axes[1, 0], views, "views a second", lambda row: BLUE)
    axes[1, 0].set_title("magnified views")
    if views:
        axes[1, 0].set_xscale("log")
    _growth(axes[1, 1], rows)
    figure.suptitle(title, fontsize=11, parse_math=False)
    return figure


def _bars(axis, rows: list[dict], label: str, colour) -> None:
    """A bar a row: the median, its number, and a line from quartile to quartile."""
    for y, row in enumerate(rows):
        spread = [[max(0.0, row["median"] - row["q1"])], [max(0.0, row["q3"] - row["median"])]]
        axis.barh(y, row["median"], 0.7, xerr=spread, color=colour(row), error_kw={"capsize": 2, "lw": 1})
        axis.text(row["q3"], y, f"  {row['median']:.3g}", va="center", fontsize=7)
    axis.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=7, parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set(xlabel=label)


def _name(row: dict) -> str:
    _, comma, model = row["part"].partition(", ")
    return row["name"] + f" ({model})" * bool(comma)


def _growth(axis, rows: list[dict]) -> None:
    """Time over that of the smallest size, by size over the smallest, with each fitted exponent."""
    series = {}
    for row in rows:
        if row["size"]:
            series.setdefault(row["part"], []).append((row["size"], row["median"]))
    exponents = {row["part"]: row["median"] for row in rows if row["name"] == "exponent"}
    for (part, points), colour in zip(series.items(), LINES, strict=False):
        sizes, times = np.array(points, float).T
        name = f"{part.partition(': ')[2]}: {exponents[part]:.2f}"
        axis.plot(sizes / sizes[0], times / times[0], "o-", color=colour, label=name, lw=1.2, ms=4)
    axis.set(xlabel="size, over the smallest", ylabel="time, over that of the smallest")
    axis.set_title("growth, with its exponent")
    if series:
        axis.set(xscale="log", yscale="log")
        axis.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2)
