from dataclasses import replace
from itertools import product

import pytest

from mags_kit import memory
from mags_kit.config import PROFILES, load_config
from mags_kit.records import read_json, write_json
from mags_kit.run import branch, open_run, reopen

GIVEN = {"data": "scenes"}
LARGE = [name for name, config in PROFILES.items() if config.model != "embedded"]
STEP = (8, 16, 32, 64)  # divisors of a step of 8 groups of 8, in whole groups


def test_every_profile_has_a_row_and_its_weights_are_known():
    assert {config.model for config in PROFILES.values()} == set(memory.MODELS)
    for four_bit, gb in ((True, 3.39), (False, 7.51)):  # measured in NF4, with an adapter of 0.36: 3.71
        config = load_config("paper", GIVEN | {"four_bit": four_bit})
        assert memory.parts(config)["weights"] == pytest.approx(gb, abs=0.01)


def test_the_estimate_is_that_of_a_measured_step():
    """The H100 of results/gpu: 16 trajectories of full length at once, 4 in a pass: 14.0 GB held."""
    sizes = {"samples_per_step": 2, "rollout_batch": 16, "micro_batch": 4, "batch_size": 1}
    assert memory.need_gb(load_config("paper", {**GIVEN, **sizes})) == pytest.approx(14.0, rel=0.05)


def test_auto_is_the_largest_that_fits_on_each_card():
    """Its choice fits, or it is the least; nothing larger fits; and the step holds the same trajectories."""
    wrong = []
    for profile, card in product(LARGE, (8, 16, 24, 48, 80)):
        chosen = memory.resolve(PROFILES[profile], card, 1)
        rollouts, micro, batch = memory.sizes(chosen).values()

        def fits(**sizes):
            return memory.need_gb(replace(chosen, **sizes)) <= card

        larger = {
            "rollout_batch": [{"rollout_batch": n, "micro_batch": 1, "batch_size": 1} for n in STEP if n > rollouts],
            "micro_batch": [{"micro_batch": n, "batch_size": 1} for n in STEP if micro < n <= rollouts],
            "batch_size": [{"batch_size": n} for n in memory.AT_ONCE if n > batch],
        }
        ok = fits() or (rollouts, micro, batch) == (8, 1, 1)
        ok &= not any(fits(**sizes) for choices in larger.values() for sizes in choices)
        ok &= replace(chosen, **dict.fromkeys(memory.sizes(chosen), "auto")) == PROFILES[profile]
        wrong += [] if ok else [(profile, card, rollouts, micro, batch)]
    assert wrong == []


def test_auto_is_shared_by_processes_and_given_sizes_stay(monkeypatch):
    config = replace(PROFILES["qwen3-vl-4b"], samples_per_step=6)
    assert all(memory.resolve(config, 80, count).rollout_batch % count == 0 for count in (1, 2, 3))
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert memory.resolve(config, 24).rollout_batch == 24  # 16 would fit, but not be shared
    given = memory.resolve(replace(config, rollout_batch=16, micro_batch=4), 80)
    assert memory.sizes(given) == {"rollout_batch": 16, "micro_batch": 4, "batch_size": 96}
    assert memory.resolve(replace(config, micro_batch=16), 8).rollout_batch == 48  # the least that 16 divides
    assert memory.resolve(PROFILES["cpu"]) is PROFILES["cpu"]


def test_answers_alone_take_less_than_training_and_more_on_a_cpu():
    config = load_config("paper", GIVEN)
    alone = replace(config, stage_steps=(0,))
    answers, trains = memory.resolve(alone, 13.5), memory.resolve(config, 13.5)
    assert answers.batch_size > trains.batch_size and memory.need_gb(answers) <= 13.5
    assert memory.need_gb(answers, on_gpu=False) > memory.need_gb(answers)
    plain = replace(config, gradient_checkpointing=False)
    assert memory.parts(plain)["update"] > 10 * memory.parts(config)["update"]


def test_another_model_takes_the_row_whose_name_it_has():
    rows = memory.MODELS
    assert memory.size_of("unsloth/Qwen2.5-VL-3B-Instruct-bnb-4bit") == rows["Qwen/Qwen2.5-VL-3B-Instruct"]
    assert memory.size_of("/embedded/my-qwen3.5-4B") == rows["Qwen/Qwen3.5-4B"]
    model = "Qwen/Qwen2.5-VL-72B-Instruct"
    assert memory.size_of(model) is None
    with pytest.raises(ValueError, match="rollout_batch, micro_batch, batch_size to numbers"):
        memory.resolve(load_config("paper", {**GIVEN, "model": model}))


def test_a_run_has_numbers_and_its_folder_keeps_auto(tmp_path, monkeypatch):
    chosen = {"rollout_batch": 32, "micro_batch": 8, "batch_size": 32}  # for 24 GB, where there is no GPU
    monkeypatch.setattr(memory, "_here", lambda config: (24, True))
    run = open_run("paper", "r", GIVEN, root=tmp_path)
    assert memory.sizes(run.config) == chosen == read_json(run.manifest)["auto"]
    assert read_json(run.path / "config.json")["batch_size"] == "auto"
    inside = branch(run, "seed-1", seed=1)
    assert read_json(inside.path / "config.json")["batch_size"] == "auto" and memory.sizes(inside.config) == chosen
    monkeypatch.setattr(memory, "_here", lambda config: (80, True))  # the folder moves to another card
    moved = reopen("r", root=tmp_path)
    assert moved.config.rollout_batch == 64
