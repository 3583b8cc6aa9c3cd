import pytest

from mags_kit.config import PROFILES
from mags_kit.records import read_json
from mags_kit.runs import branch, open_run


def test_settings_never_mix_in_a_run_folder(tmp_path):
    open_run("smoke", "a", root=tmp_path)
    assert open_run("smoke", "a", root=tmp_path).config == PROFILES["smoke"]
    with pytest.raises(ValueError, match=r"made with seed=0 \(now 1\); choose another NAME="):
        open_run("smoke", "a", {"seed": 1}, root=tmp_path)


def test_a_name_cannot_leave_the_root(tmp_path):
    with pytest.raises(ValueError, match="expected letters"):
        open_run("smoke", "../a", root=tmp_path)


def test_a_done_step_is_noted(tmp_path):
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
    assert inside.cache.is_dir()  # views can be kept, though there were none yet
    assert (inside.config.seed, inside.config.test, inside.config.stage_steps) == (1, 6, (1, 1))
    with pytest.raises(ValueError, match="seed=1"):
        branch(run, "seed-1", seed=2)
