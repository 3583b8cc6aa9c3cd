"""What becomes stale by which change, and what is done about it. No model: the files of a run, written by hand."""

import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from mags_kit import pipeline, status, steps
from mags_kit.config import Config
from mags_kit.records import read_json, write_json, write_text
from mags_kit.evaluation import conditions
from mags_kit.evaluation.conditions import ANOTHER, MAIN, ONE, RANDOM, VOTE
from mags_kit.run import Run, open_run, reopen
from mags_kit.steps import State

ROOT = Path(__file__).parents[1]
NAMES = pipeline.STEPS
BEFORE = [f"before, {c}" for c in ("one round, full view", "two rounds, plain crop", "two rounds, bicubic")]
BEFORE += ["before, two rounds, super-resolution"]
ANSWERS = {*BEFORE, *(name.replace("before", "after") for name in BEFORE)}
AFTER = ANSWERS - set(BEFORE)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run as the kit leaves it, of a model in a folder."""
    notebooks = tmp_path / "notebooks"
    shutil.copytree(ROOT / "notebooks", notebooks)
    monkeypatch.setattr(status, "NOTEBOOKS", notebooks)
    write_text(tmp_path / "model" / "model.safetensors", "weights")
    run = open_run("smoke", "r", {"model": str(tmp_path / "model")}, root=tmp_path / "runs")
    for name in ("pool", "validation", "test", "curated"):
        write_text(run.data / f"{name}.png", name)
        write_text(run.samples(name), json.dumps({"image": f"{name}.png", "question": name}) + "\n")
    write_json(run.training_log, {"stages": ["stage 1", "stage 2"]})
    write_text(run.best / "adapter_model.safetensors", "adapter")
    write_text(run.figures / "01_candidates.png", "figure")
    for step in status.every(run, NAMES):
        for path in step.outputs:
            if not path.exists():
                write_text(path, step.name)
        step.stamp()
    return run


def states(run: Run) -> dict[str, tuple[State, str]]:
    return {step.name: step.state() for step in status.every(run, NAMES)}


def stale(run: Run) -> set[str]:
    return {name for name, (state, _) in states(run).items() if state is State.STALE}


def test_what_is_as_it_was_is_done(run):
    assert {state for state, _ in states(run).values()} == {State.DONE}
    assert {state for state, _ in states(reopen("r", run.path.parent)).values()} == {State.DONE}


def test_one_look_at_all_steps_asks_each_once(run, monkeypatch):
    asked, now = [], steps.Step.now
    monkeypatch.setattr(steps.Step, "now", lambda step: asked.append(step.note) or now(step))
    assert len(status.table(run, NAMES).splitlines()) == len(asked) == len(set(asked))


@pytest.mark.parametrize(
    "module, old, new, made_again",
    [
        ("method.rewards", "4 * math.prod", "3 * math.prod", {"curated", "training", *ANSWERS}),
        ("method.look", "self.called = True", "self.called = 1", {"pool", "training", *ANSWERS}),
        ("method.validation", "default=-1", "default=-2", {"training"}),
        ("tiny.scenes", "rng.integers(2)", "rng.integers(3)", {"data"}),
        ("data.benchmarks", "SAME = 30", "SAME = 31", set()),  # these are scenes
        ("experiments", 'samples(name)) for name in ("curated"', 'samples(name)) for name in ("pool"', {"training"}),
        ("report.statistics", "def wilson(", "def wilson_(", set()),
        ("records", "file.write(content)", "file.write(content or b'')", set()),  # filing
        ("records", "TINY = ", "SMALL = ", {"pool", "curated", "training", *ANSWERS}),
        ("config", "MIRRORED = ", "MIRROR = ", set()),  # settings are compared one by one
        ("method.rewards", '"""Round 2', '"""The second round', set()),  # text
    ],
)
def test_a_change_of_code_reaches_what_was_made_by_it_and_nothing_else(run, kit, module, old, new, made_again):
    kit(module, old, new)
    found = stale(run)
    notebooks = {name for name in found if re.match(r"\d\d_|report", name)}
    assert found - notebooks == made_again
    if made_again:
        [name, *_] = sorted(made_again)
        assert f"code of {module}" in states(run)[name][1] and " changed" in states(run)[name][1]


def test_a_change_of_the_figures_code_makes_notebooks_again_and_nothing_else(run, kit):
    kit("report.charts", "def show_pool", "def  show_pool_")
    assert stale(run) == {"01_data_curation", "02_curriculum_rl", "03_evaluation", "04_regions"}


@pytest.mark.parametrize(
    "path, made_again",
    [
        ("data/pool.jsonl", {"pool", "curated", "01_data_curation"}),
        ("data/pool.png", {"pool", "curated", "01_data_curation"}),
        ("data/curated.jsonl", {"training", "01_data_curation", "02_curriculum_rl"}),
        ("data/validation.png", {"training", "01_data_curation"}),
        ("data/test.png", {"01_data_curation", *ANSWERS}),
        ("trajectories/pool.jsonl", {"curated", "01_data_curation"}),
        ("training/best/adapter_model.safetensors", {"02_curriculum_rl", *AFTER}),
        ("training/best/README.md", set()),
        ("training/stage 1/checkpoint-1/optimizer.pt", set()),
        ("trajectories/before-two_rounds-super-resolution.jsonl", {"03_evaluation", "04_regions"}),
        ("metrics.json", {"report"}),
        ("../../model/model.safetensors", {"pool", "training", *ANSWERS}),
    ],
)
def test_a_changed_file_makes_what_reads_it_stale_and_nothing_else(run, path, made_again):
    write_text(run.path / path, "something else\n")
    assert stale(run) == made_again
    behind = {name for name, (state, _) in states(run).items() if state is State.BEHIND}
    assert not made_again or "report" in behind | made_again


def test_a_changed_setting_is_named_with_both_values(run):
    config = read_json(run.path / "config.json") | {"learning_rate": 1e-4}
    write_json(run.path / "config.json", config)  # by hand; `open_run` refuses other settings
    again = reopen("r", run.path.parent)
    assert stale(again) == {"training"}
    assert states(again)["training"][1] == "setting learning_rate changed 0.0005 -> 0.0001"


@pytest.mark.parametrize("kind, made_again", [("markdown", set()), ("code", {"03_evaluation"})])
def test_a_notebook_is_known_by_its_code_cells(run, kind, made_again):
    path = status.NOTEBOOKS / "03_evaluation.ipynb"
    notebook = read_json(path)
    next(cell for cell in reversed(notebook["cells"]) if cell["cell_type"] == kind)["source"] += ["# more"]
    write_json(path, notebook)
    assert stale(run) == made_again
    assert not made_again or states(run)["03_evaluation"][1] == "its code cells changed"


def test_what_a_step_before_it_makes_again_is_waited_for(run, kit):
    kit("tiny.scenes", "rng.integers(2)", "rng.integers(3)")
    assert states(run)["pool"] == (State.BEHIND, "waits for: data")
    with pytest.raises(ValueError, match="training: data comes first, and is stale .code of tiny.scenes changed.; run"):
        steps.ready(steps.training(run))


def test_what_is_stale_is_kept_beside_and_never_gone_on_with(run, kit, capsys):
    write_text(run.stage("stage 2") / "checkpoint-1" / "trainer_state.json", "{}")
    noted = steps.training(run).note.read_text()
    kit("method.validation", "default=-1", "default=-2")
    assert not steps.ready(steps.training(run))
    assert not (run.path / "training").exists()
    old = run.path / "old" / "1"
    assert (old / "training" / "stage 2" / "checkpoint-1").is_dir() and (
        old / "made-from/training.json"
    ).read_text() == noted
    assert (
        f"training is made again (code of method.validation changed); what was there lies in {old}"
        in capsys.readouterr().out
    )
    write_text(run.stage("stage 1") / "a", "begun")  # killed in its middle, and started again
    assert steps.training(run).state() == (State.UNFINISHED, "") and not steps.ready(steps.training(run))
    assert (run.stage("stage 1") / "a").exists()
    kit("method.validation", "default=-2", "default=-3")  # changed again meanwhile
    assert not steps.ready(steps.training(run)) and (run.path / "old" / "2" / "training" / "stage 1" / "a").exists()


def test_a_kill_between_the_parts_of_clearing_the_way_leaves_nothing_to_mix(run, kit):
    """What does not fit is moved first, then the note is written: an output never stands beside a note not its own."""
    kit("method.validation", "default=-1", "default=-2")
    step = steps.training(run)
    step.clear(*step.state())  # killed here
    assert step.state()[0] is State.MISSING and not step.note.exists()
    step.stamp()  # or here
    assert step.state()[0] is State.MISSING


def test_a_run_of_an_older_kit_is_done_and_said_to_be(run):
    shutil.rmtree(run.path / "made-from")
    assert {state for state, _ in states(run).values()} == {State.OLDER}
    assert steps.ready(steps.training(run)) and not (run.path / "old").exists()
    assert "done, by an older kit" in status.table(run, NAMES)
    config = read_json(run.path / "config.json")
    del config["tracker"]  # as if the older kit had not had the setting
    write_json(run.path / "config.json", config)
    assert reopen("r", run.path.parent).config == run.config


def test_a_training_that_an_older_kit_began_is_begun_again_and_kept(run, capsys):
    shutil.rmtree(run.path / "made-from")
    write_json(run.training_log, {"stages": ["stage 1"]})
    assert not steps.ready(steps.training(run))
    assert (run.path / "old" / "1" / "training" / "state.json").exists() and not run.best.exists()
    assert "what an older kit began is begun again" in capsys.readouterr().out


def test_other_versions_are_said_and_make_nothing_stale(run):
    note = steps.training(run).note
    noted = read_json(note)
    write_json(note, noted | {"versions": noted["versions"] | {"trl": "0.1"}})
    state, why = steps.training(run).state()
    assert state is State.DONE and why.startswith("made with trl 0.1 (now ")


def test_every_setting_matters_to_a_step_or_to_none_on_purpose():
    named = {*steps.DATA, *steps.POOL, *steps.CURATED, *steps.TRAINING, *steps.ANSWERS, *steps.DRAWN, *steps.BASE}
    assert {f.name for f in fields(Config)} - named == {"other_seeds", "sizes", "orders", "grid", "tracker"}


def test_answers_that_rest_on_others_are_stale_with_them(tmp_path):
    run = open_run("smoke", "r", {"grid": "full"}, root=tmp_path)
    write_text(run.data / "test.png", "1")
    write_text(run.samples("test"), json.dumps({"image": "test.png"}) + "\n")
    made = {name: conditions.step(run, "before", name) for name in conditions.grid(run.config)}
    for one in made.values():
        write_text(one.outputs[0], one.name)
        one.stamp()
    write_text(run.trajectories("before", ONE), "others")
    assert [name for name, one in made.items() if one.state()[0] is State.STALE] == [VOTE]
    write_text(run.trajectories("before", MAIN), "others")
    assert {name for name, one in made.items() if one.state()[0] is State.STALE} == {VOTE, ANOTHER}
    chance = {name for name, one in made.items() if "setting seed" in one.now()}
    assert chance == {VOTE, RANDOM}


def test_no_training_is_nothing_to_do(tmp_path):
    run = open_run("smoke", "r", {"stage_steps": [0, 0]}, root=tmp_path)
    assert steps.training(run).state() == (State.DONE, "nothing to do")
    assert not [step for step in status.every(run, NAMES) if step.name.startswith("after")]


def test_own_data_counts_with_its_images(run, tmp_path):
    write_text(tmp_path / "own.jsonl", json.dumps({"image": "a.png", "question": "?", "answer": "1"}) + "\n")
    write_text(tmp_path / "a.png", "1")
    own = open_run("smoke", "own", {"own": str(tmp_path / "own.jsonl")}, root=tmp_path)
    before = steps.data(own).now()
    write_text(tmp_path / "a.png", "2")
    assert {name for name, value in steps.data(own).now().items() if before[name] != value} == {"own data"}
