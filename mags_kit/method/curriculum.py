"""The curriculum: which few samples RL trains on, in which order.

The paper does not publish its rule; this one is ours. Difficulty is measured: a sample's solve rate is the share of
the base's rollouts that answer it rightly. A group that is all right or all wrong teaches GRPO nothing.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np

from mags_kit.config import Config
from mags_kit.method import rewards
from mags_kit.records import Sample, Trajectory


@dataclass(frozen=True)
class Stage:
    """A part of the training: its samples, in no order, and how many optimisation steps it takes."""

    name: str
    samples: tuple[Sample, ...]
    steps: int
    number: int = 0  # stages before it
    before: int = 0  # optimisation steps before it
    imitated: tuple[Trajectory, ...] = ()  # what a cold start is finetuned on, in place of RL on samples


def solve_rates(trajectories: list[Trajectory]) -> dict[str, float]:
    """Sample id -> share of its trajectories that are right."""
    verdicts = defaultdict(list)
    for trajectory in trajectories:
        verdicts[trajectory.sample.id].append(rewards.answer(trajectory) == 1)
    return {name: float(np.mean(values)) for name, values in verdicts.items()}


def choose(pool: list[Sample], rates: dict[str, float], count: int, seed: int, selection: str = "even") -> list[Sample]:
    """`count` samples, or fewer from a small pool, balanced over families; each says in `meta` why it was chosen.

    Candidates that the base always or never solves are left out while others remain. In each family, the rest is
    ordered by solve rate (ties by a seeded shuffle) and picked at even distances; `hardest` takes the least solved,
    `varied` those whose answers vary most, p(1 - p). `random` ignores the solve rates.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for family, want in _shares(Counter(sample.family for sample in pool), count).items():
        members = [pool[j] for j in rng.permutation(len(pool)) if pool[j].family == family]
        if selection == "random":
            chosen += [explained(sample, rates, "; drawn at random") for sample in members[:want]]
            continue
        members.sort(key=lambda s: rates[s.id])
        useful = [s for s in members if 0 < rates[s.id] < 1]
        spare = [s for s in members if not 0 < rates[s.id] < 1]
        if selection == "varied":
            useful.sort(key=lambda s: -rates[s.id] * (1 - rates[s.id]))
        picked = _evenly(useful, want) if selection == "even" else useful[:want]
        few = f" (too few {family} candidates were solved sometimes)"
        chosen += [explained(sample, rates) for sample in picked]
        chosen += [explained(sample, rates, few) for sample in _evenly(spare, want - len(picked))]
    return chosen


def explained(sample: Sample, rates: dict[str, float], note: str = "") -> Sample:
    """The sample with its solve rate, and with why it was chosen, in its `meta`."""
    reason = f"{sample.family}, solved {rates[sample.id]:.0%} of the time{note}"
    return replace(sample, meta=sample.meta | {"solve_rate": rates[sample.id], "chosen": reason})


def _shares(sizes: dict[str, int], count: int) -> dict[str, int]:
    """`count` dealt out to the families in turn, to none more than its size."""
    shares = dict.fromkeys(sorted(sizes), 0)
    for _ in range(min(count, sum(sizes.values()))):
        left = [family for family in shares if shares[family] < sizes[family]]
        shares[min(left, key=shares.get)] += 1
    return shares


def _evenly(items: list, want: int) -> list:
    count = max(0, min(len(items), want))
    return [items[j] for j in np.linspace(0, len(items) - 1, count).round().astype(int)]


def stages(samples: list[Sample], config: Config) -> list[Stage]:
    """The samples in as many stages as `stage_steps` has entries, in the order of the config's `curriculum`. Later
    stages keep the samples of earlier ones, so that what was learnt is not forgotten."""
    rank = {"easy_first": lambda p: -p, "hard_first": lambda p: p, "learnable": lambda p: -p * (1 - p)}
    rng = np.random.default_rng(config.seed)
    mixed = [samples[i] for i in rng.permutation(len(samples))]
    if config.curriculum in rank:
        mixed.sort(key=lambda sample: rank[config.curriculum](sample.meta["solve_rate"]))
    parts, made = len(config.stage_steps), []
    for i, steps in enumerate(config.stage_steps):
        count = max(1, round(len(mixed) * (i + 1) / parts))
        before = config.cold_start + sum(config.stage_steps[:i])
        made.append(Stage(f"stage {i + 1}", tuple(mixed[:count]), steps, i, before))
    return made
