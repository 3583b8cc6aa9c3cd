from dataclasses import replace

import pytest
from test_evaluation import batch

from mags_kit import experiments
from mags_kit.config import load_config
from mags_kit.data import sets
from mags_kit.evaluation.tables import ablation_table
from mags_kit.method.protocol import CHOOSE_FIRST
from mags_kit.records import read_samples, write_jsonl
from mags_kit.run import branch, branch_name, open_run


@pytest.fixture
def run(tmp_path):
    """A run whose candidates are measured: every other rollout is right."""
    run = open_run("smoke", "r", root=tmp_path)
    pool = sets.prepare(run)["pool"]
    experiments.steps.start(experiments.steps.pool(run))
    rollouts = [replace(t, sample=s) for s in pool for t in batch([s.answer, "x"])]
    write_jsonl(run.trajectories("pool"), rollouts)
    yield run
    experiments.steps.lock.leave(run.path)


def test_a_measured_pool_is_not_measured_again(run):
    rates = experiments.measure_pool(run)
    assert set(rates.values()) == {0.5} and len(rates) == run.config.pool
    chosen = experiments.curate(run)
    assert read_samples(run.samples("curated")) == chosen and len(chosen) == run.config.curated


def test_samples_that_the_user_named_are_all_taken_in_their_order(run, tmp_path):
    pool = read_samples(run.samples("pool"))
    tmp_path.joinpath("ids.txt").write_text("any")
    named = replace(run, config=replace(run.config, curated_ids=str(tmp_path / "ids.txt"), curated=2))
    chosen = experiments.choose_samples(named, experiments.measure_pool(run))
    assert [s.id for s in chosen] == [s.id for s in pool] and len(chosen) > 2
    assert all(s.meta["chosen"].endswith("solved 50% of the time; named by the user") for s in chosen)
    assert {tuple(changes) for changes in experiments.variants(named.config).values()} == {(), ("curriculum",)}


def test_a_branch_chooses_and_trains_beside_its_run(run, monkeypatch):
    trained = []
    monkeypatch.setattr(experiments, "train", trained.append)
    inside = experiments.retrain(run, "hard_first-seed-1", seed=1, curriculum="hard_first")
    assert trained == [inside] and (inside.config.seed, inside.config.curriculum) == (1, "hard_first")
    assert read_samples(inside.samples("curated")) and not run.samples("curated").exists()
    assert experiments.seed_branch(run, run.config.seed) == run
    assert experiments.seed_branch(run, 1).path == run.path / "branches" / "seed-1"


def test_ablations_by_hand(run):
    """Two seeds; the second variant solves one question more with the second seed: 12.5 points of 4 questions."""
    same = batch(["3", "3", "1", "1"])
    better = batch(["3", "3", "3", "1"])
    result = experiments.ablations(run, {"as it is": [same, same], "other": [same, better]})
    assert result["other"]["accuracy"] == {"seed 0": 0.5, "seed 1": 0.75}
    assert result["other"]["less the curriculum"]["difference"] == 0.125
    assert result["as it is"]["less the curriculum"]["difference"] == 0
    assert ablation_table(result).loc["other", "mean"] == "62.5"


def test_a_notebook_that_is_opened_first_makes_what_those_before_it_leave(tmp_path, monkeypatch):
    run, made = open_run("smoke", "r", root=tmp_path), []
    monkeypatch.setattr(experiments, "train", lambda run: made.append("trained"))
    monkeypatch.setattr(experiments, "before_and_after", lambda run: made.append("evaluated"))
    experiments.catch_up(run, "02_curriculum_rl")
    assert len(read_samples(run.samples("curated"))) == 6 and made == []
    monkeypatch.setattr(experiments, "curate", lambda run: made.append("curated again"))
    experiments.catch_up(run, "07_when_to_look")
    assert made == []
    experiments.catch_up(run, "04_regions")
    assert made == ["trained", "evaluated"]


def test_arms_differ_in_order_scale_and_cost_and_pay_for_nothing_else(tmp_path):
    run = open_run("smoke", "r", {"look_costs": [0.2, 0.4]}, root=tmp_path)
    opened = {}
    for name, changes in experiments.arms(run.config).items():
        config = branch(run, branch_name(0, {"arm": name}), **changes).config
        assert not config.must_look
        assert {n: w for n, w in config.rewards.items() if w and n != "look_cost"} == {"answer": 1.0, "format": 0.2}
        opened[name] = config.prompts.get("free", "")[:24], config.scale_rewards, config.rewards["look_cost"]
    first = CHOOSE_FIRST[:24]
    assert opened == {
        "sees first, unscaled": ("", "none", 0.2), "sees first, scaled by group": ("", "group", 0.2),
        "chooses first, unscaled": (first, "none", 0.2), "chooses first, scaled by group": (first, "group", 0.2),
        "a look costs 0.4": ("", "none", 0.4),
    }  # fmt: skip
    with pytest.raises(ValueError, match="expected `embedded`"):
        experiments.arms(load_config("paper"))
