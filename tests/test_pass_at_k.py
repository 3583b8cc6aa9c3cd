"""pass@k and majority by hand, and that sampling resumes, is not done twice and leaves later random numbers alone."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from test_evaluation import batch

from mags_kit import steps
from mags_kit.evaluation import pass_at_k as p, tables
from mags_kit.records import Outcome, read_samples, write_jsonl
from mags_kit.run import open_run


def test_the_estimate_is_the_mean_over_all_choices_of_k_answers():
    for n, good, k in ((1, 0, 1), (4, 1, 2), (6, 2, 3), (6, 6, 4), (8, 3, 8)):
        choices = [any(i < good for i in chosen) for chosen in combinations(range(n), k)]
        assert p.pass_at_k(good, n, k) == pytest.approx(np.mean(choices)), (n, good, k)


def test_majority_by_hand():
    """The truth is 3; of two equally frequent answers each wins in half, and what is no answer has no vote."""
    table = [  # answers in the order of sampling, k, share of the blocks that are right
        ("3144", 1, 0.25), ("3144", 2, 0.25), ("1344", 2, 0.25), ("3144", 4, 0.0), ("3134r", 4, 1.0), ("3-44", 2, 0.5),
        ("--3-", 4, 1.0), ("----", 2, 0.0), ("r3r", 2, 0.5), ("rr3-", 4, 0.0),
    ]  # fmt: skip
    for said, k, share in table:
        made = batch(["right" if c == "r" else c for c in said])  # the word is an answer like any other
        made = [replace(t, outcome=Outcome.NO_CALL) if t.answer == "-" else t for t in made]
        assert p.majority(made, k) == share, (said, k)
    assert p.majority(batch(["The three", "2", "two", "3.", "2."]), 5) == 0


def curve(*draws: str) -> list:
    return [batch(draw) for draw in draws]


def test_the_curves_and_their_table():
    base, always = curve("3111" * 9, "1311" * 9, "1131" * 9, "1113" * 9), curve(*["3" * 36] * 4)
    found = p.estimates({"base": base, "trained": always})
    assert (found["k"], found["questions"]) == ([1, 2, 4], 36)
    assert [row["mean"] for row in found["base"][p.ANY]] == [0.25, 0.5, 1]
    assert [row["mean"] for row in found[p.LESS][p.ANY]] == [0.75, 0.5, 0]
    assert p.LESS not in p.estimates({"base": base[:1]})
    shown = tables.pass_table(found)
    assert [*shown.index] == [1, 2, 4] and shown.loc[2, "pass@k: base"] == "50.0 (34 to 66)"
    assert shown.loc[1, "pass@k: trained, less base"].startswith("+75.0 (")


def test_sampling_resumes_is_not_done_twice_and_leaves_later_random_numbers_alone(
    smoke_run, policy, tmp_path, monkeypatch
):
    monkeypatch.setattr(p, "load_policy", lambda config, adapter: policy)
    run = open_run("smoke", "r", {"pass_questions": 3, "magnifier": "bicubic"}, root=tmp_path)
    test = read_samples(smoke_run.samples("test"))
    write_jsonl(run.samples("test"), test)
    run.data.joinpath("images").symlink_to((smoke_run.data / "images").absolute())
    before, step = torch.get_rng_state(), steps.draws(run, "base")
    first, second = p.sampled(run, "base", "")
    assert torch.equal(before, torch.get_rng_state()) and step.state() == (steps.DONE, "")
    asked = [t.sample for t in first]
    assert len(asked) == 3 and asked == [sample for sample in test if sample in asked] != test[:3]
    assert [t.replies for t in first] != [t.replies for t in second]  # a seed for each answer
    whole = [file.read_bytes() for file in step.outputs]
    step.outputs[1].unlink()  # as if killed before it was written
    assert step.state()[0] == steps.UNFINISHED
    p.sampled(run, "base", "")
    assert [file.read_bytes() for file in step.outputs] == whole
    monkeypatch.setattr(p, "load_policy", None)  # what is there is not sampled again
    assert p.measure(run)["base"][p.ANY][0]["mean"] == np.mean([p.right(first), p.right(second)])
