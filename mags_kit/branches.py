"""Runs inside a run: the same data, another seed or other settings."""

import re
from dataclasses import asdict, replace

from mags_kit.config import CURRICULA, SPARSE, Config
from mags_kit.records import read_json
from mags_kit.run import Run, open_run


def branch(run: Run, name: str, **changes) -> Run:
    """A run inside `run` with some settings changed. It shares the data and the views, and trains anew."""
    profile = read_json(run.manifest)["profile"]
    inside = open_run(profile, name, asdict(run.config) | changes, run.branches)
    return replace(inside, parent=run)


def branch_name(seed: int, changes: dict) -> str:
    """Of the branch with another seed and settings, as `seeds` and `variants` have them."""
    return "-".join([re.sub(r"[^\w.]+", "-", str(value)).strip("-") for value in (*changes.values(), f"seed-{seed}")])


def seeds(config: Config) -> tuple[int, ...]:
    return (config.seed, *config.other_seeds)


def variants(config: Config) -> dict[str, dict]:
    """What the ablations compare, name -> settings changed; the first is the curriculum as it is.

    Orders are compared in two regimes: as it is, and `sparse`: the hardest samples, so many that each is met but twice.
    Where questions are solved now and then and met often, no order can matter; where many are hardly ever solved and
    met twice, one could.
    """
    own, amount = config.curriculum, config.curated
    visits, least = sum(config.stage_steps) * config.samples_per_step, len(config.stage_steps) * config.samples_per_step
    many = {"selection": "hardest", "curated": min(config.pool, max(least, visits // 2))}
    rows = {f"{own}, {amount} samples": {}}
    others = [order for order in CURRICULA if order in config.orders and order != own]
    rows |= {f"{order}, {amount} samples": {"curriculum": order} for order in others}
    sparse = {SPARSE.format(order): {"curriculum": order, **many} for order in CURRICULA}
    rows |= {name: changes for name, changes in sparse.items() if name in config.orders}
    return rows | {f"{own}, {size} samples": {"curated": size} for size in config.sizes}
