"""When each part of the method pays (see `findings.worth`), as table and picture; what the glass is up against."""

import matplotlib.pyplot as plt
import pandas as pd

from mags_kit.config import Config
from mags_kit.method.magnifier import Magnifier
from mags_kit.evaluation.conditions import ALL, BICUBIC, MAIN, PLAIN
from mags_kit.viz.figures import BLUE, GREEN, GREY, ORANGE, styled
from mags_kit.evaluation.analysis import LABELS, X4PLUS
from mags_kit.data import drawing, scenes

COLOURS = dict(zip(LABELS.values(), (GREY, ORANGE, GREEN, BLUE, "#6A3D9A"), strict=True))
COLOURS |= {"before RL": ORANGE, "after RL": BLUE, "two rounds": BLUE}


def worth_table(found: dict) -> pd.DataFrame:
    """A row for each part and class: percent of each way with its interval, and the difference in points."""
    rows = {}
    for part, classes in found.items():
        for value, row in classes.items():
            d = row["difference"]
            ways = [f"{way} {100 * a['accuracy']:.1f}" for way, a in row.items() if way != "difference"]
            rows[part, value] = {
                "questions": d["n"],
                "accuracy, %": ", ".join(ways),
                "difference, points": f"{100 * d['difference']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})",
                "told apart": "tied" if d["tied"] else "yes",
            }
    return pd.DataFrame.from_dict(rows, orient="index")


TITLES = {
    "glass": "the glass, on small things\nby the source's quality",
    "second round": "the second round\nby the size of what is asked for",
    "RL": "reinforcement learning\nby the density of the scene",
}


@styled
def show_worth(found: dict, title: str):
    """A panel for each part of the method: accuracy of each way by class, with 95% intervals."""
    figure, axes = plt.subplots(1, len(found), figsize=(4.1 * len(found), 3.6), sharey=True, squeeze=False)
    for axis, (part, classes) in zip(axes.flat, found.items(), strict=True):
        ways = [way for way in next(iter(classes.values())) if way != "difference"]
        for i, way in enumerate(ways):
            places = [x + (i - (len(ways) - 1) / 2) * 0.13 for x in range(len(classes))]
            shares = [row[way] for row in classes.values()]
            middle = [100 * s["accuracy"] for s in shares]
            down, up = ([100 * abs(s["accuracy"] - s[end]) for s in shares] for end in ("low", "high"))
            axis.errorbar(places, middle, (down, up), fmt="o", color=COLOURS[way], capsize=2, label=way)
        names = [f"{value}\nn = {row['difference']['n']}" for value, row in classes.items()]
        axis.set_xticks(range(len(classes)), names)
        axis.set_title(TITLES[part], fontsize=10)
        axis.set(ylim=(0, 100), xlim=(-0.5, len(classes) - 0.5))
        axis.grid(axis="y", color="0.9")
        axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2)
    axes[0, 0].set_ylabel("accuracy, % (95% interval)")
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.tight_layout()
    return figure


@styled
def show_qualities(seed: int = 0, family: str = scenes.COUNT, cache_dir=None):
    """The same small card, photographed sharp, soft and poor, as each magnifier shows it, and as it was drawn."""
    networks = {ALL[name].network or Config.magnifier: LABELS[name] for name in (PLAIN, BICUBIC, MAIN, X4PLUS)}
    best = next(iter(drawing.QUALITIES))
    figure, axes = plt.subplots(3, len(networks) + 1, figsize=(2.1 * (len(networks) + 1), 6.8))
    for row, quality in zip(axes, drawing.QUALITIES, strict=True):
        scene = scenes.make_scene(seed, "validation", family, size=scenes.SMALL, quality=quality)
        for axis, (network, label) in zip(row, networks.items(), strict=False):
            view, record = Magnifier(network, 128 * 128, 32, cache_dir=cache_dir).view(scene.image, scene.cards[0].box)
            axis.imshow(view)
            axis.set_title(label if quality == best else "", fontsize=10)
        row[-1].imshow(scene.close_up(record.box, (128, 128)))
        row[-1].set_title("as drawn" if quality == best else "", fontsize=10)
        row[0].set_ylabel(quality, fontsize=11)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    figure.suptitle(f"{scene.cards[0].question} ({scene.cards[0].answer})", fontsize=11)
    figure.tight_layout()
    return figure
