"""The curriculum: which few samples RL trains on, in which order.

The paper does not publish its rule; this one is ours. Difficulty is measured, not guessed: the share of k rollouts
of the base that a candidate's question solves. A group that is all right or all wrong teaches GRPO nothing.
"""

from collections import defaultdict
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
    first_view_pixels: int = 0  # budget of the whole image in round 1; 0: the run's


def solve_rates(trajectories: list[Trajectory]) -> dict[str, float]:
    """Sample id -> share of its trajectories that are right."""
    verdicts = defaultdict(list)
    for trajectory in trajectories:
        verdicts[trajectory.sample.id].append(rewards.answer(trajectory) == 1)
    return {name: float(np.mean(values)) for name, values in verdicts.items()}


def solve_rate(sample: Sample) -> float:
    """Of a chosen sample; ValueError where nothing has measured it."""
    if "solve_rate" not in sample.meta:
        raise ValueError(f"sample {sample.id!r}: expected a solve_rate in its meta, as `curriculum.choose` writes it")
    return sample.meta["solve_rate"]


def choose(pool: list[Sample], rates: dict[str, float], count: int, seed: int, selection: str = "even") -> list[Sample]:
    """`count` samples, balanced over families; each says in `meta` why it was chosen.

    Candidates that the base always or never solves are left out while others remain. In each family, the rest is
    ordered by solve rate (ties by a seeded shuffle) and picked at even distances; `hardest` takes the least solved,
    `varied` those whose answers vary most, p(1 - p).
    """
    rng = np.random.default_rng(seed)
    families = sorted({sample.family for sample in pool})
    chosen = []
    for i, family in enumerate(families):
        want = count // len(families) + (i < count % len(families))
        members = [pool[j] for j in rng.permutation(len(pool)) if pool[j].family == family]
        members.sort(key=lambda s: rates[s.id])
        useful = [s for s in members if 0 < rates[s.id] < 1]
        spare = [s for s in members if not 0 < rates[s.id] < 1]
        if selection == "varied":
            useful.sort(key=lambda s: -rates[s.id] * (1 - rates[s.id]))
        picked = [useful[j] for j in _evenly(len(useful), want)] if selection == "even" else useful[:want]
        rest = [spare[j] for j in _evenly(len(spare), want - len(picked))]
        for sample in picked + rest:
            rate = rates[sample.id]
            reason = f"{family}, solved {rate:.0%} of the time"
            if sample in rest:
                reason += f" (too few {family} candidates were solved sometimes)"
            chosen.append(replace(sample, meta=sample.meta | {"solve_rate": rate, "chosen": reason}))
    return chosen


def _evenly(available: int, want: int) -> list[int]:
    if not available or want <= 0:
        return []
    return np.linspace(0, available - 1, min(available, want)).round().astype(int).tolist()


def stages(samples: list[Sample], config: Config) -> list[Stage]:
    """The samples in as many stages as `stage_steps` has entries, easy ones first unless the config says otherwise.

    Later stages keep the samples of earlier ones, so that what was learnt is not forgotten; `shuffled` deals the
    samples out at random instead of by solve rate, `hard_first` starts with the least solved. Under `learnable` every
    stage has all of them (see `visits`), and so it does under `bandwidth`, where the first view shrinks from stage to
    stage down to what the evaluation sees, so that the need to look grows.
    """
    rng = np.random.default_rng(config.seed)
    mixed = [samples[i] for i in rng.permutation(len(samples))]
    if config.curriculum in ("easy_first", "hard_first"):
        mixed.sort(key=solve_rate, reverse=config.curriculum == "easy_first")
    parts = len(config.stage_steps)
    narrowing = config.curriculum == "bandwidth"
    made = []
    for i, steps in enumerate(config.stage_steps):
        cut = parts if narrowing or config.curriculum == "learnable" else i + 1
        pixels = config.first_view_pixels * (parts - i) if narrowing else 0
        made.append(Stage(f"stage {i + 1}", tuple(mixed[: round(len(mixed) * cut / parts)]), steps, pixels))
    return made
