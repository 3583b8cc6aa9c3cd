"""The choice of samples, and their order in stages."""

from collections import Counter
from dataclasses import replace

import pytest

from mags_kit.config import PROFILES
from mags_kit.method import curriculum
from mags_kit.records import Sample

FAMILIES = ("relation", "count", "attribute")


@pytest.fixture
def pool():
    """90 candidates; within each family the solve rates go from 0 to 1."""
    samples = [Sample(f"s{i}", "x.jpg", "?", "1", FAMILIES[i % 3]) for i in range(90)]
    return samples, {s.id: (i // 3) / 29 for i, s in enumerate(samples)}


def test_the_choice_is_balanced_spread_and_explained(pool):
    chosen = curriculum.choose(*pool, 40, seed=0)
    assert sorted(Counter(s.family for s in chosen).values()) == [13, 13, 14]
    rates = sorted(s.meta["solve_rate"] for s in chosen)
    assert 0 < rates[0] < 0.1 and 0.9 < rates[-1] < 1 and all("solved" in s.meta["chosen"] for s in chosen)
    assert len({s.id for s in chosen}) == 40 and chosen == curriculum.choose(*pool, 40, seed=0)


def test_always_or_never_solved_samples_come_last_and_say_so(pool):
    samples, _ = pool
    chosen = curriculum.choose(samples, {s.id: float(s.id == "s0") / 2 for s in samples}, 6, seed=0)
    assert "s0" in {s.id for s in chosen} and len(chosen) == 6
    assert sum("too few" in s.meta["chosen"] for s in chosen) == 5


def test_stages_grow_in_the_order_asked_for(pool):
    chosen = curriculum.choose(*pool, 40, seed=0)
    made = {}
    for order in ("easy_first", "hard_first", "shuffled", "learnable"):
        one, two = curriculum.stages(chosen, replace(PROFILES["cpu"], curriculum=order, stage_steps=(5, 7)))
        named = [(s.name, s.steps, s.number, s.before) for s in (one, two)]
        assert named == [("stage 1", 5, 0, 0), ("stage 2", 7, 1, 5)]
        assert len(one.samples) == 20 and len(two.samples) == 40
        made[order] = [{s.meta["solve_rate"] for s in part} for part in (one.samples, two.samples[20:])]
    (easy, rest), (hard, others) = made["easy_first"], made["hard_first"]
    assert min(easy) >= max(rest) and max(hard) <= min(others)
    varied, settled = ([p * (1 - p) for p in rates] for rates in made["learnable"])
    assert min(varied) >= max(settled)
    assert min(made["shuffled"][0]) < 0.3 and max(made["shuffled"][0]) > 0.7
