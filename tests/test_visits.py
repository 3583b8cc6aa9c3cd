"""Samples drawn by how mixed their groups are, and the same after an interruption."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_records import make_trajectory

from mags_kit.method.visits import FLOOR, SolveRates, Visits

SAMPLE = make_trajectory().sample


def rated(**rates):
    return tuple(replace(SAMPLE, id=name, meta={"solve_rate": rate}) for name, rate in rates.items())


def test_the_running_rate_is_half_of_what_came_last():
    rates = SolveRates(rated(a=0.5, b=0.25))
    rates.update(["a", "a", "a", "a"], [True, True, True, False])
    assert rates.history == [{"a": 0.5, "b": 0.25}, {"a": 0.625, "b": 0.25}]


def test_draws_follow_the_variance_of_the_answers():
    """Weights p(1 - p) and a floor: 0.27, 0.1075 and 0.02 of 0.3975."""
    rates = SolveRates(rated(half=0.5, tenth=(1 - np.sqrt(0.65)) / 2, never=0.0))
    counts = Counter(
        rates.draw(number, 1, 0)[0] for number in range(4000) if not rates.history.append(rates.history[0])
    )
    weights = np.array([0.25, 0.0875, 0]) + FLOOR
    assert np.allclose([counts[i] / 4000 for i in range(3)], weights / weights.sum(), atol=0.03)


def test_a_draw_uses_the_batch_before_the_last_and_is_the_same_when_made_again(tmp_path):
    rates = SolveRates(rated(a=0.5, b=0.5, c=0.5, d=0.5))
    first = [rates.draw(number, 2, 7) for number in (0, 1)]
    rates.update(["a", "b"], [True, True])
    rates.update(["a", "b"], [True, True])
    args = SimpleNamespace(output_dir=str(tmp_path))
    rates.on_save(args, SimpleNamespace(global_step=2), None)
    again = SolveRates(rated(a=0.1, b=0.1, c=0.1, d=0.1))
    again.resume(tmp_path / "checkpoint-2")
    assert [again.draw(number, 2, 7) for number in (0, 1)] == first
    assert again.draw(2, 2, 7) == rates.draw(2, 2, 7)
    rates.on_train_end(args, None, None)
    later = SolveRates(rated(a=0.5, b=0.5, c=0.5, d=0.5), tmp_path)
    assert later.history == rates.history[-1:]


def test_a_batch_is_laid_out_as_trl_lays_out_its_own():
    from trl.trainer.utils import RepeatSampler

    rates = SolveRates(rated(a=0.5, b=0.5, c=0.5))
    rates.history *= 4
    mine, theirs = Visits(rates, 3, 2, 4, 2, 0), RepeatSampler(range(6), 4, 2, 2)
    assert len(mine) == len(theirs) == len(list(mine)) == len(list(theirs))
    for each in (mine, theirs):
        batches = np.array(list(each)).reshape(3, 2, 2, 4)
        assert (batches == batches[..., :1]).all() and (batches[:, 0] == batches[:, 1]).all()
        assert all(len(set(batch[0, :, 0])) == 2 for batch in batches)


def test_more_groups_than_samples_repeat_some():
    assert len(SolveRates(rated(a=0.5)).draw(0, 3, 0)) == 3


def test_a_sample_without_a_measured_rate_is_refused():
    with pytest.raises(ValueError, match="solve_rate"):
        SolveRates((SAMPLE,))
