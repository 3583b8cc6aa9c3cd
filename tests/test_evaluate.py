"""A model measured alone: its questions, its run folder, its report; and the notebook for a hosted kernel."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from PIL import Image
from tiny_benchmarks import TEST_COCO, TEST_VG, jpeg, write_mirror
from tiny_qwen import teach

from mags_kit import __main__, experiments
from mags_kit.config import PROFILES, load_config
from mags_kit.data import sets
from random_model import save_random
from mags_kit.records import read_json, read_samples
from mags_kit.evaluation.conditions import grid
from mags_kit.run import open_run

ROOT = Path(__file__).parents[1]
COLAB = ROOT / "notebooks" / "colab.ipynb"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A JSONL of three questions about photos, in a project of its own."""
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(3):
        Image.effect_noise((200, 160), 60 + number).convert("RGB").save(f"{number}.jpg")
        rows.append({"image": f"{number}.jpg", "question": "How many dots are on the red disc?", "answer": "2"})
    Path("photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "photos.jsonl"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The benchmarks' files, and the photos of their test rows."""
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    folder = write_mirror(tmp_path / "mirror")
    give_photos(folder, TEST_COCO, TEST_VG)
    return folder


def give_photos(mirror: Path, coco, genome) -> None:
    mirror.joinpath("images", "VG_100K").mkdir(parents=True, exist_ok=True)
    for name, number in [(f"{n:012d}.jpg", n) for n in coco] + [(f"VG_100K/{n}.jpg", n) for n in genome]:
        mirror.joinpath("images", name).write_bytes(jpeg(number))


@pytest.mark.slow
def test_a_model_is_measured_on_own_photos_without_pool_and_training(own, capsys, monkeypatch):
    command = ["evaluate", "--own", own, "--questions", "2", "--set", "{magnifier: bicubic}"]
    __main__.main(command)
    printed = capsys.readouterr().out
    caution = "The embedded tiny model knows no photos, only drawn scenes: what it answers about photos means nothing."
    assert printed.startswith(caution + "\n") and printed.endswith("\nruns/evaluate-embedded-photos/report.html\n")
    assert "this model" in printed and "base" not in printed
    run = Path("runs/evaluate-embedded-photos")
    assert [path.name for path in run.joinpath("data").iterdir()] == ["test.jsonl"]
    metrics = read_json(run / "metrics.json")
    counts = {name: found["n"] for name, found in metrics["conditions"]["alone"].items()}
    assert counts == dict.fromkeys(grid(PROFILES["cpu"]), 2)
    page = run.joinpath("report.html").read_text()
    assert page.count(caution) == 1 and "Notebooks" not in page and "RL, " not in page
    assert "<h1>Two rounds with super-resolution answer " in page and "held-out" not in page

    monkeypatch.setattr(experiments, "load_policy", None)  # what is there is not answered again
    __main__.main(command)
    assert read_json(run / "metrics.json") == metrics and not run.joinpath("old").exists()
    capsys.readouterr()
    __main__.main(["status", "--name", run.name])
    told = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert told == [[name, "done"] for name in ("data", *(f"alone, {c}" for c in grid(PROFILES["cpu"])))]


def test_a_benchmark_alone_asks_for_its_test_rows_only(mirror, tmp_path, monkeypatch):
    (mirror / "manoja328/tallyqa/train.json").unlink()  # only training reads it
    (mirror / "yfan1997/GRIT_data/tallyqa_val.jsonl").unlink()
    profile, name, settings = experiments.alone(str(mirror), benchmarks=("vsr", "gqa"), questions=5)  # any folder
    assert name == "evaluate-mirror-vsr-gqa"
    run = open_run(profile, name, {**settings, "mirror": str(mirror)}, tmp_path / "runs")
    assert list(sets.prepare(run)) == ["test"]
    samples = read_samples(run.samples("test"))
    assert [s.family for s in samples] == ["VSR", "GQA", "VSR", "GQA", "VSR"]
    assert not run.samples("pool").exists() and not run.samples("validation").exists()


def test_a_model_has_the_settings_of_its_profile(own):
    table = {"embedded": "cpu", "Qwen/Qwen2.5-VL-7B-Instruct": "paper-7b", "/models/a-qwen": "paper"}
    chosen = {model: experiments.alone(model, own) for model in table}
    assert {model: profile for model, (profile, _, _) in chosen.items()} == table
    configs = {model: load_config(profile, settings) for model, (profile, _, settings) in chosen.items()}
    assert all((c.model, c.test, c.pool) == (model, 3, 0) for model, c in configs.items())


def test_a_wrong_evaluation_is_one_sentence_and_makes_nothing(own, monkeypatch):
    monkeypatch.setenv("OFFLINE", "1")
    nothing = "{pool: 0, curated: 0, validation: 0, stage_steps: [0]}"
    table = {
        "evaluate --model x": "expected DATA=own.jsonl or BENCH=vsr,tallyqa,gqa",
        "evaluate --own photos.jsonl --bench vsr": "DATA=photos.jsonl and BENCH=vsr: expected one of them",
        "evaluate --own gone.jsonl": "DATA=gone.jsonl: no such file",
        "evaluate --own photos.jsonl --adapter here": "adapter 'here': expected a folder with adapter_config.json",
        "evaluate --bench vqa": "expected some of vsr, tallyqa, gqa",
        "evaluate --bench VSR": "not in the cache (OFFLINE=1): yfan1997/GRIT_data/vsr_val.jsonl",
        "evaluate --name never-made": "curated.jsonl is missing; `make curate` with the same settings makes it, or give ",
        f"run --name r --set '{nothing}'": "pool=0: there is nothing to train on; `make evaluate` measures",
    }
    wrong = []
    for command, said in table.items():
        with pytest.raises(SystemExit) as ended:
            __main__.main(shlex.split(command))
        text = str(ended.value)
        if said not in text or "\n" in text or (command.startswith("evaluate") and Path("runs").exists()):
            wrong.append((command, text))
    assert not wrong


def test_the_hosted_notebook_is_of_one_profile():
    cells = [cell.source for cell in nbformat.read(COLAB, as_version=4).cells if cell.cell_type == "code"]
    given = {}
    exec(cells[0], given)
    assert PROFILES[given["profile"]].model == given["model"] and load_config(given["profile"], given["training"])


@pytest.mark.long
def test_the_hosted_notebook_runs_with_a_tiny_checkpoint(mirror, tmp_path, monkeypatch):
    give_photos(mirror, (*range(100, 125), *range(330, 340)), (*range(300, 330), *range(400, 445)))
    model = save_random("qwen3_vl", tmp_path / "Qwen3-VL-embedded")  # planned for as the embedded model
    photo = mirror / "images" / "VG_100K" / "300.jpg"
    teach(model, photo)
    clone = tmp_path / "mags-rl"
    clone.mkdir()
    for part in ("mags_kit", "notebooks", "pyproject.toml"):
        clone.joinpath(part).symlink_to(ROOT / part)
    small = {"mirror": str(mirror), "round_tokens": 56, "view_pixels": 64 * 64}
    training = small | {
        "model": str(model), "pool": 6, "solve_rollouts": 2, "curated": 6, "validation": 3, "test": 6,
        "stage_steps": [1, 1], "samples_per_step": 2, "num_generations": 4, "rollout_batch": 4, "micro_batch": 2,
        "validate_every": 1,
    }  # fmt: skip
    parameters = {
        "folder": str(clone), "model": str(model), "photo": str(photo), "questions": 6, "settings": json.dumps(small),
        "training": json.dumps(training), "question": "How many dots?",  # the one that it was taught
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    made = papermill.execute_notebook(COLAB, "made.ipynb", parameters, kernel_name="python3")
    shown = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in shown)
    assert "billion parameters" in said and re.search(r"regions:\s+\d.*\s+draft:\s+2", said)
    assert re.search(r"picture:.*looks/300-1\.png", said)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    for name, checkpoints in (("twenty", ["alone"]), ("short", ["base", "trained"])):
        assert list(read_json(clone / "runs" / name / "metrics.json")["conditions"]) == checkpoints
