from dataclasses import replace

import pytest
from test_evaluation import batch

from mags_kit import experiments, status
from mags_kit.config import PROFILES
from mags_kit.records import read_samples, write_jsonl
from mags_kit.evaluation.evaluate import MAIN, ONE
from mags_kit.evaluation.tables import ablation_table
from mags_kit.run import open_run


@pytest.fixture
def run(smoke_run, tmp_path):
    """A run whose candidates are listed and measured: every other rollout is right."""
    run = open_run("smoke", "r", root=tmp_path)
    pool = read_samples(smoke_run.samples("pool"))
    write_jsonl(run.samples("pool"), pool)
    rollouts = [replace(t, sample=s) for s in pool for t in batch([s.answer, "x"])]
    write_jsonl(run.trajectories("pool"), rollouts)
    return run


def test_a_measured_pool_is_not_measured_again(run):
    rates = experiments.measure_pool(run, agent=None)
    assert set(rates.values()) == {0.5} and len(rates) == run.config.pool
    chosen = experiments.curate(run, rates)
    assert read_samples(run.samples("curated")) == chosen and len(chosen) == run.config.curated


def test_a_pool_that_was_not_measured_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="pool.jsonl is missing; `make curate` with the same settings makes it"):
        experiments.measured_rates(open_run("smoke", "r", root=tmp_path))


def test_a_branch_chooses_and_trains_beside_its_run(run, monkeypatch):
    trained = []
    monkeypatch.setattr(experiments, "train", trained.append)
    inside = experiments.retrain(run, "hard_first-seed-1", seed=1, curriculum="hard_first")
    assert trained == [inside] and (inside.config.seed, inside.config.curriculum) == (1, "hard_first")
    assert read_samples(inside.samples("curated")) and not run.samples("curated").exists()
    assert experiments.seed_branch(run, run.config.seed) == run
    assert experiments.seed_branch(run, 1).path == run.path / "branches" / "seed-1"


@pytest.mark.parametrize("grid", ["short", "full"])
def test_what_is_answered_with_each_seed_is_what_the_status_waits_for(smoke_run, monkeypatch, grid):
    run, asked = replace(smoke_run, config=replace(smoke_run.config, grid=grid)), set()
    monkeypatch.setattr(experiments, "seed_branch", lambda run, seed: replace(run, path=run.path / f"seed-{seed}"))
    monkeypatch.setattr(experiments, "load_policy", lambda config, adapter: None)

    def evaluate(run, policy, test, checkpoint, names):
        asked.update((run.path.name, f"after, {name}") for name in names)

    monkeypatch.setattr(experiments, "evaluate", evaluate)
    assert list(experiments.after_each_seed(run)) == [0, *run.config.other_seeds]
    other = f"seed-{run.config.other_seeds[0]}"
    waits = {step.name for step in status.shown(run, "05_seeds") if step.run.path.name == other}
    assert {name for of, name in asked if of == other} | {"curated", "training"} == waits


def test_the_ablations_vary_one_thing_at_a_time():
    variants = experiments.variants(PROFILES["cpu"])
    many = {"selection": "hardest", "curated": 180}  # 45 steps of 8 groups: 180 samples twice
    orders = ["shuffled", "hard_first", "learnable"]
    assert list(variants.values()) == [
        {}, *({"curriculum": order} for order in orders), *({"curriculum": o, **many} for o in ("easy_first", *orders)),
        {"curated": 10}, {"curated": 20}, {"curated": 80},
    ]  # fmt: skip
    assert list(experiments.variants(PROFILES["smoke"])) == [
        "easy_first, 6 samples", "learnable, 6 samples", "shuffled, sparse", "easy_first, 3 samples",
    ]  # fmt: skip
    assert next(iter(variants)) == "easy_first, 40 samples"


def test_ablations_by_hand(run):
    """Two seeds; the second variant solves one question more with the second seed: 12.5 points of 4 questions."""
    same = batch(["3", "3", "1", "1"])
    better = batch(["3", "3", "3", "1"])
    result = experiments.ablations(run, {"as it is": [same, same], "other": [same, better]})
    assert result["other"]["accuracy"] == {"seed 0": 0.5, "seed 1": 0.75}
    assert result["other"]["less the curriculum"]["difference"] == 0.125
    assert result["as it is"]["less the curriculum"]["difference"] == 0
    assert ablation_table(result).loc["other", "mean"] == "62.5"


def test_pooled_differences_by_hand():
    wrong, half = batch(["1"] * 4), batch(["3", "3", "1", "1"])
    after = {0: {MAIN: half, ONE: wrong}, 1: {MAIN: wrong, ONE: wrong}}
    pooled = experiments.pooled_differences({MAIN: wrong}, after)
    gain = pooled["after RL, less before"]
    assert gain["two-way low"] < gain["low"] <= 0.25 <= gain["high"] < gain["two-way high"]  # two seeds tell little
    assert [d["difference"] for d in pooled.values()] == [0.25, 0.25]
