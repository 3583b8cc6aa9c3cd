"""The choice of samples, their order in stages, and draws by how much a sample's answers vary."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.config import PROFILES
from mags_kit.method import curriculum
from mags_kit.method.curriculum import FLOOR, Stage, WeightedDraws
from mags_kit.records import Sample

FAMILIES = ("relation", "count", "attribute")
SAMPLE = make_trajectory().sample


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
        assert len(one.samples) == (40 if order == "learnable" else 20) and len(two.samples) == 40
        made[order] = [{s.meta["solve_rate"] for s in part} for part in (one.samples, two.samples[20:])]
    (easy, rest), (hard, others) = made["easy_first"], made["hard_first"]
    assert min(easy) >= max(rest) and max(hard) <= min(others)
    assert min(made["shuffled"][0]) < 0.3 and max(made["shuffled"][0]) > 0.7


def draws(stored, groups, seed=0, stage="stage 1", **rates) -> WeightedDraws:
    samples = tuple(replace(SAMPLE, id=name, meta={"solve_rate": rate}) for name, rate in rates.items())
    return WeightedDraws(Stage(stage, samples, 9), groups, seed, stored)


def drawn(order, batch: int) -> list[str]:
    return [order.sample(slot).id for slot in range(batch * order.groups, (batch + 1) * order.groups)]


def rolled_out(name: str, *right: bool) -> list:
    return [make_trajectory(sample=replace(SAMPLE, id=name), answer="3" if hit else "1") for hit in right]


def test_the_running_rate_is_half_of_the_last_batch():
    stored = {}
    order = draws(stored, 1, a=0.5, b=0.25)
    order.sample(0)
    order.update(rolled_out("a", True, True, True, False))
    assert stored == {"stage 1": [{"a": 0.5, "b": 0.25}, {"a": 0.625, "b": 0.25}]}


def test_draws_follow_the_variance_of_the_answers():
    """Weights p(1 - p) and a floor: 0.27, 0.1075 and 0.02 of 0.3975."""
    order = draws({}, 1, half=0.5, tenth=(1 - np.sqrt(0.65)) / 2, never=0.0)
    order.rates *= 4000
    counts = Counter(order.sample(slot).id for slot in range(4000))
    weights = np.array([0.25, 0.0875, 0]) + FLOOR
    assert np.allclose([counts[s.id] / 4000 for s in order.samples], weights / weights.sum(), atol=0.03)


def test_a_resumed_training_draws_the_same_and_a_later_stage_goes_on_with_the_rates():
    """Killed after batch 2 was sampled, resumed from batch 1: what was stored of later batches is dropped."""
    measured, stored = dict.fromkeys("abcdef", 0.5), {}
    order, made = draws(stored, 2, 7, **measured), []
    for batch in range(3):
        made.append(drawn(order, batch))
        order.update(rolled_out("a", True) + rolled_out("b", False))
    read_again = json.loads(json.dumps(stored))
    again = draws(read_again, 2, 7, **measured)
    for batch in (1, 2):
        assert drawn(again, batch) == made[batch] and len(set(made[batch])) == 2
        again.update(rolled_out("a", True) + rolled_out("b", False))
        assert len(again.rates) == batch + 2
    assert read_again == stored
    later = draws(stored, 2, 8, "stage 2", **measured)
    assert later.rates == order.rates[-1:] and later.rates[0]["a"] == 0.9375


def test_more_groups_than_samples_repeat_some():
    assert drawn(draws({}, 3, a=0.5), 0) == ["a"] * 3
