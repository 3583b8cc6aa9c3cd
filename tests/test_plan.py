import subprocess
import sys

import pytest

from mags_kit import pipeline
from mags_kit.config import load_config
from mags_kit import plan
from mags_kit.method import fit

GIVEN = {"data": "scenes"}
HERE = {"gpu": "A card", "memory": 25.4e9, "runs": 1e12, "models": 1e12}


@pytest.mark.parametrize(
    "lacks, said",
    [
        ({"gpu": None, "memory": 0}, "expected a GPU with 11 GB, came none; take PROFILE=cpu"),
        ({"memory": 8e9}, "GB of GPU memory, came 8.0 GB (A card); lower round_tokens"),
        ({"models": 1e9}, "expected 8 GB of free disk for models, came 1 GB; set HF_HOME"),
        ({"runs": 1e9}, "of free disk for runs, came 1 GB; make room"),
    ],
)
def test_what_will_not_fit_is_one_sentence_before_anything_is_made(monkeypatch, tmp_path, lacks, said):
    monkeypatch.setattr(plan, "machine", lambda *_: HERE | lacks)
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)
    monkeypatch.setattr("mags_kit.data.benchmarks.check", lambda config: None)  # as if the hub answered
    with pytest.raises(ValueError) as error:
        pipeline.reproduce("paper", "r", GIVEN)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_machine_with_room_and_the_embedded_model_pass(monkeypatch):
    monkeypatch.setattr(plan, "machine", lambda *_: HERE)
    plan.check(load_config("paper-7b", GIVEN))
    monkeypatch.setattr(plan, "machine", lambda *_: HERE | {"gpu": None, "memory": 0, "runs": 0})
    plan.check(load_config("cpu"))


def test_the_table_needs_no_network_and_no_gpu(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = plan.table(load_config("paper-7b", GIVEN))
    assert "8.29 billion parameters" in text and "cache of keys and values" in text and "estimated" in text
    assert "embedded: 2.7 million parameters" in plan.table(load_config("cpu"))


def test_the_command_prints_a_table_and_a_wrong_one_a_sentence():
    command = [sys.executable, "-m", "mags_kit", "plan", "--profile"]
    done = subprocess.run([*command, "cpu"], capture_output=True, text=True, check=True)
    assert "GPU memory at its peak" in done.stdout
    done = subprocess.run([*command, "huge"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.strip().startswith("mags_kit: PROFILE='huge' is unknown")


def test_the_plan_says_which_difference_the_questions_find(monkeypatch):
    """(1.960 + 0.842) * sqrt(0.2 / 900) and of 0.5: 4.2 and 6.6 points."""
    config = load_config("reference")
    assert plan.least(config) == pytest.approx((4.18, 6.60), abs=0.01)
    text = plan.table(config)
    assert "Difference that 900 questions find" in text and "4.2 to 6.6 points" in text
    assert "found four times in five at 5%, where 20% or 50% of the questions" in text and "image of its own" in text


def test_hours_and_disk_grow_with_the_model():
    small, large = (plan.shape_of(load_config(p, GIVEN).model) for p in ("paper", "paper-7b"))
    config = fit.fitted(load_config("paper", GIVEN))
    assert plan.hours(config, small) < plan.hours(config, large) and plan.hours(config, small)[0] > 1
    assert plan.disk(config, large)["model"] == 2 * large.parameters


def test_the_table_says_what_auto_is_and_what_precision_costs(monkeypatch):
    none = HERE | {"gpu": None, "memory": 0}
    for here, card in ((none, "for a GPU of 24 GB"), (HERE | {"memory": 80e9}, "for this GPU")):
        monkeypatch.setattr(plan, "machine", lambda *_, here=here: here)
        text = plan.table(load_config("qwen3-vl-4b", GIVEN))
        assert text.count(card) == 3 and "rollout_batch: auto" in text
    assert "Unsloth" not in text
    assert "four_bit: false" in plan.table(load_config("qwen3.5-4b", {**GIVEN, "four_bit": True}))
