import pytest

from mags_kit.config import PROFILES, branch, load_config, open_run


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


def test_settings_never_mix_in_a_run_folder(tmp_path):
    open_run("smoke", "a", root=tmp_path)
    assert open_run("smoke", "a", root=tmp_path).config == PROFILES["smoke"]
    with pytest.raises(ValueError, match=r"made with seed=0 \(now 1\); choose another NAME="):
        open_run("smoke", "a", {"seed": 1}, root=tmp_path)


def test_a_name_cannot_leave_the_root(tmp_path):
    with pytest.raises(ValueError, match="expected letters"):
        open_run("smoke", "../a", root=tmp_path)


def test_a_done_step_is_noted(tmp_path):
    from mags_kit.records import read_json

    run = open_run("smoke", "a", root=tmp_path)
    run.done("something", count=3)
    manifest = read_json(run.file("manifest.json"))
    assert manifest["steps"] == {"something": {"count": 3}} and manifest["environment"]["versions"]["trl"]


def test_a_branch_shares_the_data_and_changes_what_it_says(tmp_path):
    run = open_run("smoke", "r", {"test": 6}, root=tmp_path)
    run.file("data").mkdir()
    run.file("data", "test.jsonl").write_text("here\n")
    inside = branch(run, "seed-1", seed=1)
    assert branch(run, "seed-1", seed=1) == inside  # opened again
    assert inside.file("data", "test.jsonl").read_text() == "here\n" and inside.cache.resolve() == run.cache.resolve()
    assert (inside.config.seed, inside.config.test, inside.config.stage_steps) == (1, 6, (1, 1))
    with pytest.raises(ValueError, match="seed=1"):
        branch(run, "seed-1", seed=2)


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
