import pytest

from mags_kit.run import branch
from mags_kit.config import PROFILES
from mags_kit.records import read_json, write_json
from mags_kit.run import open_run, reopen


def test_settings_never_mix_in_a_run_folder(tmp_path):
    open_run("smoke", "a", root=tmp_path)
    assert open_run("smoke", "a", root=tmp_path).config == PROFILES["smoke"]
    with pytest.raises(ValueError, match=r"made with seed=0 \(now 1\); choose another NAME="):
        open_run("smoke", "a", {"seed": 1}, root=tmp_path)


def test_a_run_of_a_kit_with_fewer_settings_opens_with_the_defaults_of_its_profile(tmp_path):
    path = open_run("smoke", "old", root=tmp_path).path / "config.json"
    stored = read_json(path)
    for name in ("scale_rewards", "num_iterations", "batch_size"):  # the last is another in the profile `cpu`
        del stored[name]
    write_json(path, stored)
    assert open_run("smoke", "old", root=tmp_path).config == reopen("old", tmp_path).config == PROFILES["smoke"]
    with pytest.raises(ValueError, match=r"made with scale_rewards='group' \(now 'none'\); choose another NAME="):
        open_run("smoke", "old", {"scale_rewards": "none"}, root=tmp_path)


@pytest.mark.parametrize(
    "file, content, said",
    [
        ("config.json", "[]", "config.json: expected the settings of a run"),
        ("config.json", "null", "config.json: expected the settings of a run"),
        ("config.json", '{"seed": 1', "config.json: expected JSON, as the kit writes it ("),
        ("config.json", "", "config.json: expected JSON"),
        ("config.json", "\udcff", "config.json: expected JSON"),  # a byte that is no UTF-8
        ("config.json", "[" * 100_000, "config.json: expected JSON"),
        ("config.json", '{"sed": 1}', "setting 'sed' is unknown; did you mean seed?"),
        ("config.json", '{"stage_steps": "__import__"}', "stage_steps='__import__' is str; expected int"),
        ("manifest.json", "{}", "manifest.json: expected the profile and the steps of a run"),
        ("manifest.json", '{"profile": ["smoke"]}', "manifest.json: expected the profile"),
        ("manifest.json", '{"profile": "huge"}', "PROFILE='huge' is unknown"),
        ("manifest.json", None, "manifest.json: expected the profile"),
    ],
)
def test_files_of_a_run_from_elsewhere_are_data_or_one_sentence(file, content, said, tmp_path):
    path = open_run("smoke", "r", root=tmp_path).path / file
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError) as error:
        reopen("r", tmp_path)
    assert said in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_name_cannot_leave_the_root(tmp_path):
    with pytest.raises(ValueError, match="expected letters"):
        open_run("smoke", "../a", root=tmp_path)


def test_a_done_step_is_noted(tmp_path):
    run = open_run("smoke", "a", root=tmp_path)
    run.done("something", count=3)
    manifest = read_json(run.manifest)
    assert manifest["steps"] == {"something": {"count": 3}} and manifest["environment"]["versions"]["trl"]


def test_a_branch_shares_the_data_and_changes_what_it_says(tmp_path):
    run = open_run("smoke", "r", {"test": 6}, root=tmp_path)
    inside = branch(run, "seed-1", seed=1)
    assert branch(run, "seed-1", seed=1) == inside  # opened again
    assert inside.samples("test") == run.samples("test") and inside.views == run.views
    assert inside.samples("curated") != run.samples("curated") and inside.best != run.best  # chosen and trained anew
    assert (inside.config.seed, inside.config.test, inside.config.stage_steps) == (1, 6, (1, 1))
    with pytest.raises(ValueError, match="seed=1"):
        branch(run, "seed-1", seed=2)
