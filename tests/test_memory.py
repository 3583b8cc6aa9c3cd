from dataclasses import replace

import pytest

from mags_kit import memory
from mags_kit.config import PROFILES, load_config

GIVEN = {"data": "scenes"}


def test_every_profile_has_a_row_and_its_weights_are_known():
    assert {config.model for config in PROFILES.values()} == set(memory.MODELS)
    for four_bit, gb in ((True, 3.39), (False, 7.51)):  # measured in NF4, with an adapter of 0.36: 3.71
        config = load_config("paper", GIVEN | {"four_bit": four_bit})
        assert memory.parts(config)["weights"] == pytest.approx(gb, abs=0.01)


def test_the_estimate_is_that_of_a_measured_step():
    """The H100 of results/gpu: 16 trajectories of full length at once, 4 in a pass: 14.0 GB held."""
    sizes = {"samples_per_step": 2, "rollout_batch": 16, "micro_batch": 4, "batch_size": 1}
    assert memory.need_gb(load_config("paper", {**GIVEN, **sizes})) == pytest.approx(14.0, rel=0.05)


def test_every_profile_fits_24_gb():
    assert {name: gb for name, config in PROFILES.items() if (gb := memory.need_gb(config)) > 24} == {}


def test_answers_alone_take_less_than_training_and_more_on_a_cpu():
    config = load_config("paper", GIVEN)
    alone = replace(config, stage_steps=(0,))
    assert memory.need_gb(alone) < memory.need_gb(config)
    assert memory.need_gb(alone, on_gpu=False) > memory.need_gb(alone)
    plain = replace(config, gradient_checkpointing=False)
    assert memory.parts(plain)["update"] > 10 * memory.parts(config)["update"]


def test_another_model_takes_the_row_whose_name_it_has():
    rows = memory.MODELS
    assert memory.size_of("unsloth/Qwen2.5-VL-3B-Instruct-bnb-4bit") == rows["Qwen/Qwen2.5-VL-3B-Instruct"]
    assert memory.size_of("/embedded/my-qwen3.5-4B") == rows["Qwen/Qwen3.5-4B"]
    assert memory.size_of("Qwen/Qwen2.5-VL-72B-Instruct") is None
