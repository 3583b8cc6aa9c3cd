"""Analysis of stored answers: what needed the view, what differs, where a second round helps, and what each part of the
method gains. It makes `findings.json` of a run, and over all seeds a part of `seeds.json`.
"""

import math
import re
from collections.abc import Callable

import numpy as np

from mags_kit.config import Config
from mags_kit.data import drawing, scenes
from mags_kit.evaluation.conditions import ALL, BICUBIC, BLANKED, CONDITIONS, DIRECT, MAIN, ONE, PLAIN, X4PLUS, left_out
from mags_kit.evaluation.evaluate import Results, by_family
from mags_kit.evaluation.statistics import (
    accuracy, clusters_of, matched, over_seeds, paired_difference, share, two_way, with_holm, within,
)  # fmt: skip
from mags_kit.method import rewards
from mags_kit.method.metrics import right, verdicts
from mags_kit.method.protocol import CALL
from mags_kit.records import Box, Trajectory, area

NEED = ONLY, EITHER, LOST, NEVER = "only with the view", "either way", "lost by looking", "never"
LABELS = {ONE: "one round", PLAIN: "plain crop", BICUBIC: "bicubic", MAIN: "super-resolution", X4PLUS: "x4plus"}
ORDER = {"quality": tuple(drawing.QUALITIES), "size": scenes.SIZES, "density": tuple(scenes.DENSITIES)}
EASY_DRAFTS = "drafts right, large and sharp"
EXAMPLES = 3  # sample ids of each kind
SIDES = (8, 16, 32)  # pixels of a target in the first view, where its classes end
META = ("quality", "size", "density", "relation", "category", "cards")  # keys of a sample's meta that give classes
LEVELS = 6  # values of a number up to which each is a class of its own


def findings(checkpoints: dict[str, Results], config: Config) -> dict:
    """`findings.json`: for each checkpoint all analyses of one run; gains of each part of the method, and of RL."""
    found = {"left out": left_out(config)}
    for checkpoint, results in checkpoints.items():
        found[checkpoint] = {
            "needed": view_needed(results),
            "differences": differences(results),
            "where": by_class(results, config),
            "looking": {name: looking(trajectories, config) for name, trajectories in results.items()},
        }
    found["worth"] = component_gains(checkpoints)
    if {"base", "trained"} <= set(checkpoints):
        before, after = checkpoints["base"], checkpoints["trained"]
        gains = {name: paired_difference(after[name], before[name]) for name in after if name in before}
        found["trained, less base"] = with_holm(gains)
    return _without_nan(found)


def _without_nan(value):
    """The same with None for nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def differences(results: Results) -> dict[str, dict]:
    """MAIN less each other condition, paired; Holm over all of them."""
    return with_holm({name: paired_difference(results[MAIN], each) for name, each in results.items() if name != MAIN})


def view_needed(results: Results) -> dict[str, dict]:
    """For each condition that shows the region asked for: shares of the questions by whether they needed the view.

    Wrong at once, wrong with a blank view, right with the real one: only with the view. Right with the real one
    otherwise: either way. Right at once and wrong with the view: lost. {} where no blank view was evaluated.
    """
    found = {}
    for name, trajectories in results.items() if BLANKED in results else ():
        if name == BLANKED or ALL[name].rounds == 1 or ALL[name].shows != "asked":
            continue
        real, at_once = matched(trajectories, results.get(DIRECT, results[ONE]))
        direct, blank, solved = (right(each) for each in (at_once, matched(real, results[BLANKED])[1], real))
        kinds = np.select([solved & ~direct & ~blank, solved, direct], [ONLY, EITHER, LOST], NEVER)
        shares = {kind: share(kinds == kind, clusters_of(real)) for kind in NEED}
        ids = np.array([t.sample.id for t in real])
        found[name] = {
            **shares,
            "of those solved, without the view": float(np.mean(kinds[solved] == EITHER)) if solved.any() else math.nan,
            "examples": {kind: ids[kinds == kind][:EXAMPLES].tolist() for kind in NEED},
        }
    return found


def component_gains(checkpoints: dict[str, Results]) -> dict[str, dict]:
    """When each part of the method pays: `{part: {class: {version: accuracy, …, "difference": …}}}`.

    `glass`: super-resolution less bicubic on small targets, by the source's quality. `second round`: two rounds less
    one, by the target's size. `RL`: trained less base, by density. The first two for the trained policy, if there is one. Paired,
    Holm over the classes of a part. {} where a sample's meta does not say what it is.
    """
    last = checkpoints.get("trained") or next(iter(checkpoints.values()))
    if not all(set(ORDER) <= set(t.sample.meta) for t in last[MAIN]):
        return {}
    small = {LABELS[n]: [t for t in last[n] if _is_small(t)] for n in LABELS if n in last and n != ONE}
    rounds = {"one round": last[ONE], "two rounds": last[MAIN]}
    found = {
        "glass": _gains_by("quality", small, LABELS[MAIN], LABELS[BICUBIC]),
        "second round": _gains_by("size", rounds, "two rounds", "one round"),
    }
    if {"base", "trained"} <= set(checkpoints):
        both = {checkpoint: checkpoints[checkpoint][MAIN] for checkpoint in ("base", "trained")}
        found["RL"] = _gains_by("density", both, "trained", "base")
    return found


def _gains_by(key: str, versions: Results, ours: str, theirs: str) -> dict[str, dict]:
    classes = {}
    for value in ORDER[key]:
        of = {name: [t for t in each if t.sample.meta[key] == value] for name, each in versions.items()}
        if of[ours]:
            classes[value] = {name: accuracy(each) for name, each in of.items()}
            classes[value]["difference"] = paired_difference(of[ours], of[theirs])
    for value, row in with_holm({value: row["difference"] for value, row in classes.items()}).items():
        classes[value]["difference"] = row
    return classes


def by_class(results: Results, config: Config) -> dict[str, dict[str, dict]]:
    """Two rounds less one by classes of questions: `{grouping: {class: difference}}`, Holm over each grouping."""
    both, found = matched(results[MAIN], results[ONE]), {}
    for grouping, classes in groupings(both[0], config).items():
        rows = {}
        for name in sorted(set(classes)):
            pair = [[t for t, c in zip(each, classes, strict=True) if c == name] for each in both]
            accuracies = {key: float(right(t).mean()) for key, t in zip(("two rounds", "one round"), pair, strict=True)}
            rows[name] = paired_difference(*pair) | accuracies
        found[grouping] = with_holm(rows)
    return found


def groupings(trajectories: list[Trajectory], config: Config) -> dict[str, list[str]]:
    """Classes of the questions, one name each: by family, by target size, and by the meta that all of them have."""
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
    """Rates of tool calls and truncated replies, written tokens, verdicts; where boxes are known, `region_metrics`."""
    found = {
        "tool-call rate": float(np.mean([CALL[0] in t.replies[0] for t in trajectories])),
        "truncation rate": float(np.mean([max(t.lengths, default=0) >= config.round_tokens for t in trajectories])),
        "written tokens": float(np.mean([sum(t.lengths) for t in trajectories])),
    }
    seen = [region_metrics(t) for t in trajectories if t.sample.boxes and t.regions]
    means = {key: float(np.mean([one[key] for one in seen])) for key in (seen[0] if seen else ())}
    return found | verdicts(trajectories) | means


def region_metrics(t: Trajectory) -> dict[str, float]:
    """How well all regions show all of the target's boxes: coverage, IoU of the two unions, and the regions' share of
    the image; in [0, 1]."""
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
    boxes = np.array([box for box in boxes if area(box)]).reshape(-1, 4)
    xs, ys = np.unique(boxes[:, ::2]), np.unique(boxes[:, 1::2])
    covered = np.zeros((max(len(ys) - 1, 0), max(len(xs) - 1, 0)), bool)
    for x0, y0, x1, y1 in boxes:
        covered[np.ix_((ys[:-1] >= y0) & (ys[:-1] < y1), (xs[:-1] >= x0) & (xs[:-1] < x1))] = True
    return float(np.diff(ys) @ covered @ np.diff(xs))


def seeded_conditions(config: Config) -> tuple[str, ...]:
    """The conditions that are evaluated with each seed: those that the claims compare."""
    return (MAIN, ONE) if config.grid == "short" else (*CONDITIONS, BLANKED)


def all_seeds(before: Results, after: dict[int, Results]) -> dict[str, dict]:
    """For each condition that was evaluated with every seed: `accuracy`, what MAIN has more (`main less it`),
    and `trained, less base`; over all seeds, with intervals for other questions *and* other seeds."""
    each, found = list(after.values()), {}
    for name in [name for name in each[0] if all(name in results for results in each)]:
        ours = [results[name] for results in each]
        level = two_way(np.array([right(t) for t in ours], float), clusters_of(ours[0]))
        found[name] = {"accuracy": {"accuracy": level.pop("difference"), **within(level, 0, 1)}}
        if name != MAIN:
            found[name]["main less it"] = over_seeds([results[MAIN] for results in each], ours)
        if name in before:
            found[name]["trained, less base"] = over_seeds(ours, [before[name]] * len(ours))
    return found


def component_gains_over_seeds(before: Results, after: dict[int, Results]) -> dict[str, dict]:
    """What each part of the method gains, over all seeds: `{row: {"value", "low", "high", "seeds", "n", "each"}}`.

    Shares, or paired differences of two, of the trained policies' answers; `each` has the value by seed, `n` the questions of
    each. The 95% intervals are for other questions and other seeds; shares of drafts and verdicts have none. A row is
    missing where the samples do not say what it is about.
    """
    seeds = list(after.values())
    rl = [(results[MAIN], before[MAIN]) for results in seeds]
    rounds = [(results[MAIN], results[ONE]) for results in seeds]
    rows = {"RL": _gain(rl)}
    for family in by_family(before[MAIN]):
        rows[f"RL, {family}"] = _gain(rl, lambda t, family=family: t.sample.family == family)
    for size in scenes.SIZES:
        rows[f"second round, {size}"] = _gain(rounds, lambda t, size=size: t.sample.meta.get("size") == size)
    if all(BICUBIC in results for results in seeds):
        magnifiers = [(results[MAIN], results[BICUBIC]) for results in seeds]
        for qualities in (ORDER["quality"][1:], *((quality,) for quality in ORDER["quality"])):
            rows[f"super-resolution, small, {' and '.join(qualities)}"] = _gain(
                magnifiers, lambda t, among=qualities: _is_small(t) and t.sample.meta.get("quality") in among
            )
    rows["drafts, trained less base"] = _gain(rl, measured=_drafts_right)
    rows |= _draft_rows(before[MAIN], [results[MAIN] for results in seeds])
    return {name: row for name, row in rows.items() if row}


def _gain(pairs: list[tuple], about: Callable = lambda t: True, measured: Callable = right) -> dict:
    """Ours less theirs, a pair for each seed, on the samples that it is about; {} where there is none."""
    ours, theirs = ([[t for t in pair[i] if about(t)] for pair in pairs] for i in (0, 1))
    if not ours[0]:
        return {}
    found = over_seeds(ours, theirs, measured)
    return {"value": found.pop("difference"), **found}


def _drafts_right(trajectories: list[Trajectory]) -> np.ndarray:
    return np.array([rewards.draft(t) == 1 for t in trajectories])


def _draft_rows(before: list[Trajectory], after: list[list[Trajectory]]) -> dict[str, dict]:
    """`draft_metrics` of the trained policies and of the base, without those that are not known for every seed."""
    first, each, rows = draft_metrics(before), [draft_metrics(trajectories) for trajectories in after], {}
    for name, at_first in first.items():
        values = [found[name] for found in each]
        if not np.isnan(values).any():
            n = sum(map(_is_easy, before)) if name == EASY_DRAFTS else len(before)
            rows[name] = {"value": float(np.mean(values)), "each": values, "n": n}
            rows[name] |= {} if math.isnan(at_first) else {"base": at_first}
    return rows


def draft_metrics(trajectories: list[Trajectory]) -> dict[str, float]:
    """Shares of right drafts, of those that stayed right, and of verdicts; nan where there is none."""
    drafts, said = _drafts_right(trajectories), verdicts(trajectories)
    easy, kept = drafts[[_is_easy(t) for t in trajectories]], right(trajectories)[drafts]
    found = {EASY_DRAFTS: float(easy.mean()) if len(easy) else math.nan}
    found["right drafts kept"] = float(kept.mean()) if len(kept) else math.nan
    names = ("verdict fits draft and answer", "verdict true, balanced")
    return found | {name: said.get(name, math.nan) for name in names}


def _is_small(t: Trajectory) -> bool:
    return t.sample.meta.get("size") == scenes.SMALL


def _is_easy(t: Trajectory) -> bool:
    return t.sample.meta.get("size") == scenes.LARGE and t.sample.meta.get("quality") == ORDER["quality"][0]
