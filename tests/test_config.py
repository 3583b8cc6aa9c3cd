import pytest

from mags_kit.config import PROFILES, load_config


@pytest.mark.parametrize(
    "profile, settings, said",
    [
        ("gpu", {}, "PROFILE='gpu' is unknown; expected one of smoke, cpu, reference, paper, paper-7b"),
        ("cpu", {"max_step": 2}, "setting 'max_step' is unknown"),
        ("cpu", {"temprature": 1.0}, "did you mean temperature?"),
        ("cpu", {"test": "many"}, "test='many' is str; expected int, as 300"),
        ("cpu", {"four_bit": 1}, "expected bool"),
        ("cpu", {"magnifier": "lens"}, "magnifier 'lens' is unknown"),
        ("cpu", {"curriculum": "random"}, "curriculum='random'; expected one of easy_first"),
        ("cpu", {"num_generations": 1}, "at least 2"),
        ("cpu", {"curated": 999}, "cannot come from a pool of"),
        ("cpu", {"own": "nowhere.jsonl"}, "DATA=nowhere.jsonl: no such file"),
        ("cpu", {"rewards": {"beauty": 1.0}}, "reward 'beauty' is unknown"),
        ("paper", {"mirror": "nowhere"}, "mirror='nowhere': no such folder"),
        ("paper", {"test_sets": "all"}, "test_sets='all'; expected one of grit, full"),
        ("cpu", "{seed: ", "is not YAML"),
        ("cpu", "seed", "expected a mapping"),
    ],
)
def test_a_wrong_setting_is_one_clear_sentence(profile, settings, said):
    with pytest.raises(ValueError) as error:
        load_config(profile, settings)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_settings_change_a_profile():
    config = load_config("cpu", "{seed: 3, stage_steps: [1, 2], learning_rate: 1e-4, rewards: {verify: 0}}")
    assert (config.seed, config.stage_steps, config.learning_rate) == (3, (1, 2), 1e-4)
    assert config.rewards == {**PROFILES["cpu"].rewards, "verify": 0}


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"optimizer": "adamx"}, "optimizer='adamx'; expected one of adamw_torch_fused"),
        ({"tracker": "notebook"}, "tracker='notebook'; expected one of ''"),
        ({"tracker": "wandb"}, "tracker='wandb' is not installed; install it, or set tracker: none"),
        ({"vllm": True}, "vllm: true wants four_bit: false"),
        ({"vllm": True, "four_bit": False}, "vllm: true, but vllm is not installed"),
        ({"rollout_batch": 6}, "rollout_batch=6; expected a multiple of num_generations=4"),
        ({"micro_batch": 3}, "micro_batch=3; expected a divisor of the 8 trajectories"),
    ],
)
def test_a_wrong_way_to_train_is_one_clear_sentence(settings, said, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError) as error:
        load_config("smoke", settings)
    assert said in str(error.value) and "\n" not in str(error.value)
