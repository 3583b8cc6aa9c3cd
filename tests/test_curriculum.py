from collections import Counter
from dataclasses import replace

import pytest
from test_records import make_trajectory

from mags_kit.config import PROFILES
from mags_kit.method import curriculum
from mags_kit.records import Sample

FAMILIES = ("relation", "count", "attribute")


@pytest.fixture
def pool():
    """90 candidates; within each family the solve rates go from 0 to 1."""
    samples = [Sample(f"s{i}", "x.jpg", "?", "1", FAMILIES[i % 3]) for i in range(90)]
    return samples, {s.id: (i // 3) / 29 for i, s in enumerate(samples)}


def test_solve_rates_by_hand():
    made = [make_trajectory(answer=a) for a in ("3", "3", "1", "2")]
    assert curriculum.solve_rates(made) == {"a": 0.5}


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


@pytest.mark.parametrize("order, rising", [("easy_first", False), ("hard_first", True)])
def test_stages_grow_in_the_order_asked_for(pool, order, rising):
    config = replace(PROFILES["cpu"], curriculum=order, stage_steps=(5, 7))
    one, two = curriculum.stages(curriculum.choose(*pool, 40, seed=0), config)
    assert (one.steps, two.steps, len(one.samples), len(two.samples)) == (5, 7, 20, 40)
    first = {s.meta["solve_rate"] for s in one.samples}
    rest = {s.meta["solve_rate"] for s in two.samples} - first
    assert (max(first) <= min(rest)) == rising


def test_shuffled_stages_do_not_follow_difficulty(pool):
    config = replace(PROFILES["cpu"], curriculum="shuffled")
    rates = [s.meta["solve_rate"] for s in curriculum.stages(curriculum.choose(*pool, 40, seed=0), config)[0].samples]
    assert min(rates) < 0.3 and max(rates) > 0.7
