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


def test_a_random_choice_is_balanced_seeded_and_blind_to_the_solve_rates(pool):
    samples, rates = pool
    chosen = curriculum.choose(samples, rates, 40, 0, "random")
    assert sorted(Counter(s.family for s in chosen).values()) == [13, 13, 14] and len({s.id for s in chosen}) == 40
    other = {name: 1 - rate for name, rate in rates.items()}
    assert [s.id for s in chosen] == [s.id for s in curriculum.choose(samples, other, 40, 0, "random")]
    assert {s.id for s in chosen} != {s.id for s in curriculum.choose(samples, rates, 40, 1, "random")}
    assert all(s.meta["chosen"].endswith("of the time; drawn at random") for s in chosen)


def test_a_small_family_leaves_its_share_to_the_others(pool):
    samples, rates = pool
    few = [s for i, s in enumerate(samples) if s.family != "count" or i < 15]  # 30, 30, and 5 of `count`
    for selection in ("even", "random"):
        taken = Counter(s.family for s in curriculum.choose(few, rates, 40, 0, selection))
        assert taken == {"attribute": 18, "count": 5, "relation": 17}
    assert len(curriculum.choose(few, rates, 99, 0)) == 65
    one = curriculum.choose(few, rates, 1, 0)
    assert [len(stage.samples) for stage in curriculum.stages(one, PROFILES["cpu"])] == [1, 1]


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
