"""Analysis of stored answers: where a second round helps, what each part of the method gains."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from mags_kit.config import Config
from mags_kit.data import drawing, scenes
from mags_kit.evaluation.conditions import (
    BICUBIC, BLANKED, CONDITIONS, DIRECT, DIRECT_TOKENS, MAIN, ONE, PLAIN, X4PLUS, grid,
)  # fmt: skip
from mags_kit.evaluation.evaluate import Results
from mags_kit.evaluation.statistics import (
    accuracy, clusters_of, over_seeds, paired_difference, two_way, with_holm,
)  # fmt: skip
from mags_kit.method import rewards
from mags_kit.method.metrics import copied, exact_match, grounding, right, verdicts, went_on
from mags_kit.method.protocol import CALL
from mags_kit.records import Trajectory, area

LABELS = {PLAIN: "plain crop", BICUBIC: "bicubic", MAIN: "super-resolution", X4PLUS: "x4plus"}
SIDES = {8: "up to 8 px", 16: "8 to 16 px", 32: "16 to 32 px", math.inf: "over 32 px"}  # side of a target
TARGET = "target in the first view"
CLASSES = {TARGET: tuple(SIDES.values()), "quality": tuple(drawing.QUALITIES), "size": scenes.SIZES}
CLASSES["density"] = tuple(scenes.DENSITIES)
EASY_DRAFTS = "drafts right, large and sharp"
DRAFTS = "right drafts kept", "verdict fits draft and answer", "verdict true, balanced"


def findings(checkpoints: dict[str, Results], config: Config) -> dict:
    """`findings.json`: for each checkpoint all analyses of one run, and the gains of each part of the method."""
    found, limits = {}, {DIRECT: DIRECT_TOKENS}
    for checkpoint, results in checkpoints.items():
        rounds, classes = {"one round": results[ONE], "two rounds": results[MAIN]}, by_class(results[MAIN], config)
        where = {of: gains(names, rounds, "two rounds", "one round") for of, names in classes.items()}
        less = {name: paired_difference(results[MAIN], each) for name, each in results.items() if name != MAIN}
        found[checkpoint] = {
            "differences": with_holm(less),
            "where": {grouping: rows for grouping, rows in where.items() if rows},
            "looking": {name: looking(each, limits.get(name, config.round_tokens)) for name, each in results.items()},
        }
    return found | {"worth": component_gains(checkpoints, config)}


def by_class(trajectories: list[Trajectory], config: Config) -> dict[str, dict[str, set[str]]]:
    """Sample ids by class, `{grouping: {class: ids}}`: by family, by the target's size in the first view where boxes
    are known, and by quality, size and density where the meta has them, as that of the scenes."""
    families = sorted({t.sample.family for t in trajectories})
    found = {of: {name: set() for name in names} for of, names in ({"family": families} | CLASSES).items()}
    for t in trajectories:
        known = {TARGET: first_view_class(t, config)} if t.sample.boxes else {}
        for grouping, name in (t.sample.meta | known | {"family": t.sample.family}).items():
            if name in found.get(grouping, ()):
                found[grouping][name].add(t.sample.id)
    return found


def first_view_class(t: Trajectory, config: Config) -> str:
    """The class of the side in pixels of a square as large as the target's boxes, as the first view shows them."""
    shrunk = min(1.0, config.first_view_pixels / math.prod(t.size))
    side = math.sqrt(sum(map(area, t.sample.boxes)) * shrunk)
    return next(name for most, name in SIDES.items() if side < most)


def gains(classes: dict[str, set[str]], versions: Results, ours: str, theirs: str) -> dict[str, dict]:
    """By class of sample ids: accuracy of each version, and as `difference` ours less theirs, paired, with Holm's
    correction over the classes."""
    found, differences = {}, {}
    for name, ids in classes.items():
        of = {version: [t for t in each if t.sample.id in ids] for version, each in versions.items()}
        if of[ours]:
            found[name] = {version: accuracy(each) for version, each in of.items()}
            differences[name] = paired_difference(of[ours], of[theirs])
    return {name: found[name] | {"difference": row} for name, row in with_holm(differences).items()}


def component_gains(checkpoints: dict[str, Results], config: Config) -> dict[str, dict]:
    """Gains of each part of the method, as far as the samples' meta has classes: of the `magnifier`, super-resolution
    less bicubic on small targets by quality; of the `second round`, two rounds less one by the target's size; of `RL`,
    trained less base by density. The first two are of the trained policy, if any."""
    last = checkpoints.get("trained") or next(iter(checkpoints.values()))
    classes = by_class(last[MAIN], config)
    fine = set().union(*(classes["size"][size] for size in scenes.FINE))
    small = {quality: ids & fine for quality, ids in classes["quality"].items()}
    magnifiers = {label: last[name] for name, label in LABELS.items() if name in last}
    policies = {checkpoint: results[MAIN] for checkpoint, results in checkpoints.items()}
    found = {"magnifier": gains(small, magnifiers, LABELS[MAIN], LABELS[BICUBIC])} if BICUBIC in last else {}
    rounds = {"one round": last[ONE], "two rounds": last[MAIN]}
    found["second round"] = gains(classes["size"], rounds, "two rounds", "one round")
    if "trained" in policies:
        found["RL"] = gains(classes["density"], policies, "trained", "base")
    return {part: rows for part, rows in found.items() if rows}


def looking(trajectories: list[Trajectory], limit: int) -> dict[str, float]:
    """Rates of tool calls, truncated replies, exact matches and copied words, tokens, verdicts, and `grounding` where
    boxes are known; `limit` is that of tokens in a reply."""
    found = {
        "tool-call rate": np.mean([CALL[0] in t.replies[0] for t in trajectories]),
        "looks": np.mean([len(t.looks) for t in trajectories]),
        "truncation rate": np.mean([max(t.lengths, default=0) >= limit for t in trajectories]),
        "written tokens": np.mean([sum(t.lengths) for t in trajectories]),
        "exact match": np.mean([exact_match(t) for t in trajectories]),
        "words copied": np.mean([copied(t) for t in trajectories]),
        "went on after its call": np.mean([went_on(t) for t in trajectories]),
        **verdicts(trajectories),
        **pd.DataFrame([grounding(t) for t in trajectories if t.sample.boxes and t.regions]).mean(),
    }
    return {name: float(value) for name, value in found.items() if not math.isnan(value)}


def seeded_conditions(config: Config) -> tuple[str, ...]:
    """The conditions that are evaluated with each seed: those that the claims compare."""
    named = (MAIN, ONE) if config.grid == "short" else (*CONDITIONS, BLANKED)
    return tuple(name for name in named if name in grid(config, "trained"))


def all_seeds(base: Results, trained: dict[int, Results]) -> dict[str, dict]:
    """For each condition that was evaluated with every seed: `accuracy`, what MAIN has more (`main less it`),
    and `trained, less base`; over all seeds, with intervals for other questions *and* other seeds."""
    each, found = list(trained.values()), {}
    for name in [name for name in each[0] if all(name in results for results in each)]:
        ours = [results[name] for results in each]
        level = two_way(np.array([right(t) for t in ours], float), clusters_of(ours[0]), 0)
        found[name] = {"accuracy": {"accuracy": level.pop("difference"), **level}}
        if name != MAIN:
            found[name]["main less it"] = over_seeds([results[MAIN] for results in each], ours)
        if name in base:
            found[name]["trained, less base"] = over_seeds(ours, [base[name]] * len(ours))
    return found


def component_gains_over_seeds(base: Results, trained: dict[int, Results], config: Config) -> dict[str, dict]:
    """What each part of the method gains, over all seeds: `{row: {"value", "low", "high", "seeds", "n", "each"}}`.

    `each` is the value by seed, `n` the number of questions. Differences have 95% intervals for other questions and
    other seeds, shares of drafts and verdicts the value of the `base`. Rows without a sample are missing.
    """
    classes, seeds = by_class(base[MAIN], config), list(trained.values())
    sizes, qualities = classes["size"], classes["quality"]
    fine, big = (set().union(*(sizes[size] for size in among)) for among in (scenes.FINE, scenes.BIG))
    sharp, *blurred = qualities
    main, one, bicubic = ([results.get(name) for results in seeds] for name in (MAIN, ONE, BICUBIC))
    first, everything = [base[MAIN]] * len(seeds), {t.sample.id for t in base[MAIN]}
    rows = {"RL": (main, first, everything)}
    rows |= {f"RL, {family}": (main, first, ids) for family, ids in classes["family"].items()}
    rows |= {f"second round, {size}": (main, one, ids) for size, ids in sizes.items()}
    if all(bicubic):
        for names in (blurred, *([name] for name in qualities)):
            ids = set().union(*(qualities[name] for name in names)) & fine
            rows[f"super-resolution, small, {' and '.join(names)}"] = main, bicubic, ids
    rows["drafts, trained less base"] = main, first, everything, _drafts_right
    found = {name: _gain(*row) for name, row in rows.items() if row[2]}
    easy = big & qualities[sharp]
    then, now = draft_metrics(base[MAIN], easy), [draft_metrics(trajectories, easy) for trajectories in main]
    for name, n in ((EASY_DRAFTS, len(easy)), *((name, len(everything)) for name in DRAFTS)):
        if all(name in each for each in now):
            values = [each[name] for each in now]
            found[name] = {"value": float(np.mean(values)), "each": values, "base": then.get(name), "n": n}
    return found


def _gain(ours: list, theirs: list, ids: set[str], measured: Callable = right) -> dict:
    """Ours less theirs, a list of trajectories for each seed, on the samples of these ids."""
    pair = ([[t for t in each if t.sample.id in ids] for each in of] for of in (ours, theirs))
    found = over_seeds(*pair, measured)
    return {"value": found.pop("difference"), **found}


def _drafts_right(trajectories: list[Trajectory]) -> np.ndarray:
    return np.array([rewards.draft(t) == 1 for t in trajectories])


def draft_metrics(trajectories: list[Trajectory], easy: set[str]) -> dict[str, float]:
    """Shares of right drafts among the `easy` samples, of right drafts that stayed right, and of verdicts; those that
    are defined."""
    drafts, among = _drafts_right(trajectories), [t.sample.id in easy for t in trajectories]
    shares = {EASY_DRAFTS: drafts[among], "right drafts kept": right(trajectories)[drafts]}
    found = {name: float(values.mean()) for name, values in shares.items() if len(values)}
    return found | {name: value for name, value in verdicts(trajectories).items() if not math.isnan(value)}
