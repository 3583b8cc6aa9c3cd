import re
from pathlib import Path

import pytest

from mags_kit import memory, pipeline, plan
from mags_kit.config import load_config

GIVEN = {"data": "scenes"}
HERE = {"GPU": "A card", "GPU memory": 25.4, "memory": 64, "disk for models": 1000}
ALONE = GIVEN | {"pool": 0, "curated": 0, "validation": 0, "stage_steps": [0], "batch_size": 1}


def test_what_will_not_fit_is_one_sentence_before_anything_is_made(monkeypatch, tmp_path, tmp_path_factory):
    llava = tmp_path_factory.mktemp("llava")
    (llava / "config.json").write_text('{"model_type": "llava"}')
    monkeypatch.setenv("OFFLINE", "1")
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)
    monkeypatch.setattr("mags_kit.data.benchmarks.check", lambda config: None)  # as if the hub answered
    wrong = []
    for lacks, settings, said in (
        ({"GPU": "no GPU", "GPU memory": 0}, GIVEN, "GB of GPU memory, found 0.0 GB (no GPU); lower rollout_batch"),
        ({"GPU memory": 8}, GIVEN, "GB of GPU memory, found 8.0 GB (A card); lower rollout_batch"),
        ({"disk for models": 1}, GIVEN, "7.5 GB of disk for models, found 1.0 GB (A card); make room, or set HF_HOME"),
        ({"GPU": "no GPU", "GPU memory": 0, "memory": 4}, ALONE, "GB of memory, found 4.0 GB (no GPU); lower"),
        ({}, GIVEN | {"model": "Qwen/no-such-model"}, "the hub's cache lacks Qwen/no-such-model"),
        ({}, GIVEN | {"model": "embeded"}, "model 'embeded': no such folder; expected `embedded`, a folder"),
        ({}, GIVEN | {"model": "/nowhere/Qwen"}, "model '/nowhere/Qwen': no such folder; expected `embedded`"),
        ({}, GIVEN | {"model": str(llava)}, "model type 'llava' is not supported; expected one of qwen2_5_vl"),
    ):
        monkeypatch.setattr(plan, "machine", lambda lacks=lacks: HERE | lacks)
        with pytest.raises(ValueError) as error:
            pipeline.begin("paper", "r", settings, "a test")
        text = str(error.value)
        wrong += [] if said in text and "\n" not in text else [(said, text)]
    assert wrong == [] and not list(tmp_path.iterdir())


def test_a_machine_with_room_and_the_embedded_model_pass(monkeypatch):
    monkeypatch.setattr(plan, "machine", lambda: HERE)
    plan.check(load_config("paper-7b", GIVEN))
    for lacks in ({"GPU": "no GPU", "GPU memory": 0}, {"GPU memory": 8}):  # answers fit there, training does not
        monkeypatch.setattr(plan, "machine", lambda lacks=lacks: HERE | lacks)
        plan.check(load_config("cpu"))
        plan.check(load_config("paper", ALONE))


def test_the_table_needs_no_network_and_no_gpu(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = plan.table(load_config("qwen3-vl-4b", GIVEN))
    for said in ("4.44 billion parameters", "  sampling", "16, 8, 24", "disk for models"):
        assert said in text
    with pytest.raises(ValueError, match="its size is not known, so there is no plan"):
        plan.table(load_config("qwen3-vl-4b", {**GIVEN, "model": "some/Model"}))


def test_the_table_in_the_docs_is_what_is_counted():
    text = (Path(__file__).parents[1] / "docs" / "large-models.md").read_text()
    rows = re.findall(r"^\| `([\w.-]+)` \| (\d+), (\d+), (\d+) \| ([\d.]+) GB \|", text, re.MULTILINE)
    assert len(rows) == 9
    for profile, *batches, gb in rows:
        config = load_config(profile)
        assert (*config.step_batches, config.batch_size) == tuple(map(int, batches)), profile
        assert f"{memory.need_gb(config, True):.1f}" == gb, profile
    settings, gb = re.search(r"Smaller cards: `SET='([^']+)'` brings `qwen3-vl-2b` to ([\d.]+) GB", text).groups()
    assert f"{memory.need_gb(load_config('qwen3-vl-2b', settings), True):.1f}" == gb
