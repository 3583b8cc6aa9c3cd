"""What an evaluation says beside its accuracies: would it have been right without looking, what differs and how surely,
where looking helps, and how it looked. All of it from stored trajectories; `findings.json` of a run.
"""

import math
import re

import numpy as np

from mags_kit.config import Config
from mags_kit.method.metrics import right, verdicts
from mags_kit.method.protocol import CALL
from mags_kit.records import Box, Trajectory, area
from mags_kit.evaluation.conditions import ALL, BICUBIC, BLANKED, DIRECT, MAIN, ONE, PLAIN, left_out
from mags_kit.evaluation.statistics import (
    accuracy,
    clusters_of,
    compared,
    matched,
    mean_interval,
    over_seeds,
    two_way,
    wilson,
    with_holm,
    within,
)
from mags_kit.data import drawing, scenes

NEED = ONLY, EITHER, LOST, NEVER = "only with the view", "either way", "lost by looking", "never"
X4PLUS = "two rounds, x4plus"
LABELS = {ONE: "one round", PLAIN: "plain crop", BICUBIC: "bicubic", MAIN: "super-resolution", X4PLUS: "x4plus"}
ORDER = {"quality": tuple(drawing.QUALITIES), "size": scenes.SIZES, "density": tuple(scenes.DENSITIES)}
EXAMPLES = 3  # sample ids of each kind
SIDES = (8, 16, 32)  # pixels of a target in the first view, where its classes end
META = ("quality", "size", "density", "relation", "category", "cards")  # by what meta may say of a sample
LEVELS = 6  # values of a number up to which each is a class of its own


def findings(checkpoints: dict[str, dict[str, list[Trajectory]]], config: Config) -> dict:
    """`findings.json`: by checkpoint what was needed, what differs, where it helps and how it looked; gains by RL."""
    found = {"left out": left_out(config)}
    for checkpoint, results in checkpoints.items():
        found[checkpoint] = {
            "needed": needed(results),
            "differences": differences(results),
            "where": where(results, config),
            "looking": {name: looking(trajectories, config) for name, trajectories in results.items()},
        }
    found["worth"] = worth(checkpoints)
    if {"before", "after"} <= set(checkpoints):
        before, after = checkpoints["before"], checkpoints["after"]
        gains = {name: compared(after[name], before[name]) for name in after if name in before}
        found["after RL, less before"] = with_holm(gains)
    return _known(found)


def _known(value):
    """The same with None for what is not known: JSON has no nan."""
    if isinstance(value, dict):
        return {key: _known(v) for key, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def differences(results: dict[str, list[Trajectory]]) -> dict[str, dict]:
    """MAIN less each other condition, paired; Holm over all of them."""
    return with_holm({name: compared(results[MAIN], each) for name, each in results.items() if name != MAIN})


def all_seeds(before: dict[str, list[Trajectory]], after: dict[int, dict[str, list[Trajectory]]]) -> dict[str, dict]:
    """For each condition that was measured after RL with every seed: `accuracy`, what MAIN has more (`main less it`),
    and `after RL, less before`; over all seeds, with intervals for other questions *and* other seeds."""
    each, found = list(after.values()), {}
    for name in [name for name in each[0] if all(name in results for results in each)]:
        ours = [results[name] for results in each]
        level = two_way(np.array([right(t) for t in ours], float), clusters_of(ours[0]))
        found[name] = {"accuracy": {"accuracy": level.pop("difference"), **within(level, 0, 1)}}
        if name != MAIN:
            found[name]["main less it"] = over_seeds([results[MAIN] for results in each], ours)
        if name in before:
            found[name]["after RL, less before"] = over_seeds(ours, [before[name]] * len(ours))
    return found


def needed(results: dict[str, list[Trajectory]]) -> dict[str, dict]:
    """For each condition that shows the region asked for: shares of the questions by what they owe to the view.

    Wrong at once, wrong with a blank view, right with the real one: only with the view. Right with the real one
    otherwise: either way. Right at once and wrong with the view: lost. {} where no blank view was measured.
    """
    if BLANKED not in results:
        return {}
    direct, found = results.get(DIRECT, results[ONE]), {}
    for name, trajectories in results.items():
        condition = ALL[name]
        if condition.rounds == 1 or condition.shows != "asked" or name == BLANKED:
            continue
        real, at_once = matched(trajectories, direct)
        kinds = needs(right(at_once), right(matched(real, results[BLANKED])[1]), right(real))
        shares = {kind: _share(kinds == kind, clusters_of(real)) for kind in NEED}
        solved = shares[ONLY]["mean"] + shares[EITHER]["mean"]
        ids = np.array([t.sample.id for t in real])
        found[name] = {
            **shares,
            "of those solved, without the view": shares[EITHER]["mean"] / solved if solved else math.nan,
            "examples": {kind: ids[kinds == kind][:EXAMPLES].tolist() for kind in NEED},
        }
    return found


def _share(of: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """The share with its interval; where all questions are alike, Wilson's over the clusters: none seen is not none."""
    found = mean_interval(of, clusters)
    if found["se"] == 0:
        low, high = wilson(int(found["mean"]) * found["clusters"], found["clusters"])
        found |= {"low": low, "high": high}
    return within(found, 0, 1)


def needs(direct: np.ndarray, blank: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Which of NEED each question is, from whether it was answered right `(N,)` at once, blank, and with the view."""
    return np.select([real & ~direct & ~blank, real, direct], [ONLY, EITHER, LOST], NEVER)


def worth(checkpoints: dict[str, dict[str, list[Trajectory]]]) -> dict[str, dict]:
    """`{part: {class: {way: accuracy, …, "difference": …}}}`; {} where a sample does not say what it is.

    When each part of the method pays. `glass`: super-resolution less bicubic, small things only, by quality. `second
    round`: two rounds less one, by size. `RL`: after less before, by density. Paired, with Holm's correction within a
    part; the first two after RL where there is an after.
    """
    last = checkpoints.get("after") or next(iter(checkpoints.values()))
    if not all(set(ORDER) <= set(t.sample.meta) for t in last[MAIN]):
        return {}
    small = {name: [t for t in last[name] if t.sample.meta["size"] == scenes.SMALL] for name in last}
    glasses = {LABELS[name]: small[name] for name in (PLAIN, BICUBIC, MAIN, X4PLUS) if name in small}
    found = {
        "glass": _by("quality", glasses, LABELS[MAIN], LABELS[BICUBIC]),
        "second round": _by("size", {"one round": last[ONE], "two rounds": last[MAIN]}, "two rounds", "one round"),
    }
    if {"before", "after"} <= set(checkpoints):
        ways = {f"{checkpoint} RL": checkpoints[checkpoint][MAIN] for checkpoint in ("before", "after")}
        found["RL"] = _by("density", ways, "after RL", "before RL")
    return found


def _by(key: str, ways: dict[str, list[Trajectory]], ours: str, theirs: str) -> dict[str, dict]:
    classes = {}
    for value in ORDER[key]:
        of = {way: [t for t in those if t.sample.meta[key] == value] for way, those in ways.items()}
        if of[ours]:
            classes[value] = {way: accuracy(those) for way, those in of.items()}
            classes[value]["difference"] = compared(of[ours], of[theirs])
    for value, row in with_holm({value: row["difference"] for value, row in classes.items()}).items():
        classes[value]["difference"] = row
    return classes


def where(results: dict[str, list[Trajectory]], config: Config) -> dict[str, dict[str, dict]]:
    """Two rounds less one by classes of questions: `{grouping: {class: difference}}`, Holm over each grouping."""
    main, one = matched(results[MAIN], results[ONE])
    found = {}
    for grouping, classes in groupings(main, config).items():
        rows = {}
        for name in dict.fromkeys(classes):
            pair = [[t for t, c in zip(each, classes, strict=True) if c == name] for each in (main, one)]
            accuracies = {key: float(right(t).mean()) for key, t in zip(("two rounds", "one round"), pair, strict=True)}
            rows[name] = compared(*pair) | accuracies
        found[grouping] = with_holm(dict(sorted(rows.items())))
    return found


def groupings(trajectories: list[Trajectory], config: Config) -> dict[str, list[str]]:
    """Classes of the questions, one name each, by family, by target size, and by what the meta of all of them says."""
    found = {"family": [t.sample.family for t in trajectories]}
    if all(t.sample.boxes for t in trajectories):
        found["target in the first view"] = [_size_class(first_view_side(t, config)) for t in trajectories]
    for key in META:
        values = [t.sample.meta.get(key) for t in trajectories]
        if all(isinstance(v, (str, int, float)) for v in values) and len(set(values)) > 1:
            found[key] = _classes(values)
    return found


def first_view_side(t: Trajectory, config: Config) -> float:
    """The side in pixels of a square as large as the target's boxes together, as the first view shows them."""
    shrunk = min(1.0, config.first_view_pixels / math.prod(t.size))
    return math.sqrt(union(t.sample.boxes) * shrunk)


def _size_class(side: float) -> str:
    place = int(np.searchsorted(SIDES, side, "right"))
    names = [f"{low} to {high} px" for low, high in zip((0, *SIDES), SIDES, strict=False)] + [f"over {SIDES[-1]} px"]
    return f"{place + 1}: {names[place]}"


def _classes(values: list) -> list[str]:
    """Values as names; numbers that take many values in thirds."""
    if isinstance(values[0], str) or len(set(values)) <= LEVELS:
        return [str(v) for v in values]
    low, high = np.quantile(values, (1 / 3, 2 / 3))
    names = f"1: up to {low:.3g}", f"2: up to {high:.3g}", f"3: over {high:.3g}"
    return [names[int(v > low) + int(v > high)] for v in values]


def told(name: str) -> str:
    """The name of a class without the number that orders it."""
    return re.sub(r"^\d: ", "", name)


def looking(trajectories: list[Trajectory], config: Config) -> dict[str, float]:
    """How a condition looked: calls, replies at their limit, written tokens, verdicts; where boxes are known, what was
    seen."""
    found = {
        "tool-call rate": float(np.mean([CALL[0] in t.replies[0] for t in trajectories])),
        "truncation rate": float(np.mean([max(t.lengths, default=0) >= config.round_tokens for t in trajectories])),
        "written tokens": float(np.mean([sum(t.lengths) for t in trajectories])),
    }
    found |= verdicts(trajectories)
    looked = [seen(t) for t in trajectories if t.sample.boxes and t.regions]
    return found | {key: float(np.mean([one[key] for one in looked])) for key in (looked[0] if looked else ())}


def seen(t: Trajectory) -> dict[str, float]:
    """How well the regions together show the target's boxes together: coverage, IoU of the two unions, and the
    regions' share of the image; all in [0, 1]."""
    regions, boxes = [r.box for r in t.regions if r.usable], t.sample.boxes
    looked, target, both = union(regions), union(boxes), union([*regions, *boxes])
    shared = looked + target - both
    return {
        "coverage": shared / target if target else 0.0,
        "IoU of the unions": shared / both if both else 0.0,
        "area": looked / math.prod(t.size),
    }


def union(boxes: list[Box] | tuple[Box, ...]) -> float:
    """The area that boxes cover together, in squared pixels."""
    boxes = [box for box in boxes if area(box)]
    if not boxes:
        return 0.0
    xs, ys = (np.unique([box[i] for box in boxes for i in pair]) for pair in ((0, 2), (1, 3)))
    covered = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x0, y0, x1, y1 in boxes:
        covered[
            np.searchsorted(ys, y0) : np.searchsorted(ys, y1), np.searchsorted(xs, x0) : np.searchsorted(xs, x1)
        ] = 1
    return float(np.diff(ys) @ covered @ np.diff(xs))
