import ast
import json

import pytest

from mags_kit import fingerprints
from mags_kit.config import load_config

LINES = 'def f(a):\n    """Say what."""\n    return a + 1\n'


@pytest.mark.parametrize(
    "source, same",
    [
        (LINES.replace("Say what.", "Say it better."), True),
        (LINES.replace("return", "# why\n    return"), True),
        (LINES.replace("a + 1", "(a   +   1)"), True),
        ('"""A module."""\n' + LINES, True),
        (LINES.replace("+ 1", "+ 2"), False),
        (LINES.replace("+ 1", "+ 1.0"), False),
        (LINES.replace("a + 1", "a + None"), False),
        (LINES.replace("(a)", "(b)"), False),
        (LINES.replace("return", "yield"), False),
    ],
)
def test_code_counts_and_comments_layout_and_docstrings_do_not(source, same):
    before, after = (fingerprints.shape(ast.parse(text)) for text in (LINES, source))
    assert (before == after) is same
    json.dumps(after)


def test_a_docstring_that_a_policy_is_shown_counts():
    tool = ast.parse(LINES)
    assert fingerprints.shape(tool, docstrings=True) != fingerprints.shape(tool)
    assert "method.protocol" in fingerprints.SHOWN  # TRL makes the tool's description of its docstring


def test_code_is_followed_through_imports_but_not_into_the_plumbing(kit):
    names = set(fingerprints.code("method.rollout"))
    assert {"code of method.protocol", "code of method.networks", "code of records", "code of images"} <= names
    assert not {"code of method.rewards", "code of runs", "code of config", "code of hub"} & names
    before = fingerprints.code("method.rollout", "method.rewards")
    kit("method.rewards", "4 * math.prod", "3 * math.prod")
    after = fingerprints.code("method.rollout", "method.rewards")
    assert fingerprints.differences(before, after) == ["code of method.rewards changed"]


def test_one_function_of_a_module_can_be_meant(kit):
    before = fingerprints.code(alone=("experiments:measure_pool", "experiments:curate"))
    kit("experiments", "run.config.solve_rollouts", "run.config.solve_rollouts + 1")
    after = fingerprints.code(alone=("experiments:measure_pool", "experiments:curate"))
    assert fingerprints.differences(before, after) == ["code of experiments:measure_pool changed"]


def test_a_folder_counts_with_its_names_and_without_its_card(tmp_path):
    (tmp_path / "a").write_text("1")
    before = fingerprints.path(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    assert fingerprints.path(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprints.path(tmp_path) != before
    (tmp_path / "b").rename(tmp_path / "a")
    assert fingerprints.path(tmp_path) == before
    (tmp_path / "a").write_text("2")
    assert fingerprints.path(tmp_path) != before and fingerprints.path(tmp_path / "c") == "missing"


def test_a_list_counts_with_the_images_that_it_names(tmp_path):
    rows = [{"image": "a.png"}, {"image": 3}, [], "x"]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    before = fingerprints.listed(tmp_path / "l.jsonl", tmp_path)
    (tmp_path / "other.png").write_bytes(b"1")
    assert fingerprints.listed(tmp_path / "l.jsonl", tmp_path) == before
    (tmp_path / "a.png").write_bytes(b"1")
    assert fingerprints.listed(tmp_path / "l.jsonl", tmp_path) != before


def test_weights_are_those_of_the_model_and_of_a_magnifier_from_a_file(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.safetensors").write_bytes(b"1")
    (tmp_path / "x.pth").write_bytes(b"1")
    config = load_config("smoke", {"model": str(tmp_path / "m"), "magnifier": str(tmp_path / "x.pth")})
    before = fingerprints.weights(config)
    (tmp_path / "x.pth").write_bytes(b"2")
    assert fingerprints.differences(before, fingerprints.weights(config)) == ["weights of the magnifier changed"]
    (tmp_path / "m" / "model.safetensors").write_bytes(b"2")
    assert "weights of the model changed" in fingerprints.differences(before, fingerprints.weights(config))
    assert fingerprints.weights(load_config("smoke"))["weights of the model"] != "missing"


def test_a_model_of_the_hub_is_known_by_its_commit(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    config = load_config("smoke", {"model": "some/model"})
    assert fingerprints.weights(config) == {"weights of the model": "main"}  # not here yet
    snapshot = tmp_path / "models--some--model" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123abc")
    assert fingerprints.weights(config) == {"weights of the model": "0123abc"}


@pytest.mark.parametrize(
    "stored, now, said",
    [
        ({"setting seed": 0}, {"setting seed": 1}, ["setting seed changed 0 -> 1"]),
        ({}, {"setting seed": 0}, []),  # an older kit did not have it, and did what its default does
        ({}, {"setting seed": 1}, ["setting seed changed 0 -> 1"]),
        ({"data/pool.jsonl": "a"}, {"data/pool.jsonl": "missing"}, ["data/pool.jsonl is gone"]),
        ({"code of a": "1", "code of b": "1"}, {"code of a": "1"}, ["code of b changed"]),
    ],
)
def test_differences_in_words(stored, now, said):
    assert fingerprints.differences(stored, now) == said
