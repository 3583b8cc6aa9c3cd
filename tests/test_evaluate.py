"""A model measured alone: its questions, its run folder, its report; and the notebook for a hosted kernel."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import papermill
import pytest
from PIL import Image
from tiny_benchmarks import TEST_COCO, TEST_VG, jpeg, write_mirror
from tiny_qwen import teach

from mags_kit import __main__, experiments, single
from mags_kit.config import PROFILES, load_config
from mags_kit.data import sets
from random_model import save_random
from mags_kit.records import read_json, read_samples
from mags_kit.evaluation.conditions import CONDITIONS
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
        Image.effect_noise((200, 160), 60 + number).convert("RGB").save(tmp_path / f"{number}.jpg")
        rows.append({"image": f"{number}.jpg", "question": "How many dots are on the red disc?", "answer": "2"})
    tmp_path.joinpath("photos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "photos.jsonl"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The benchmarks' files, and the photos of their test rows."""
    monkeypatch.setenv("MAGS_CACHE", str(tmp_path / "cache"))
    folder = write_mirror(tmp_path / "mirror")
    for name, number in [(f"{n:012d}.jpg", n) for n in TEST_COCO] + [(f"VG_100K/{n}.jpg", n) for n in TEST_VG]:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return folder


@pytest.mark.slow
def test_a_model_is_measured_on_own_photos_without_pool_and_training(own, capsys, monkeypatch):
    command = ["evaluate", "--own", own, "--questions", "2", "--set", "{magnifier: bicubic}"]
    __main__.main(command)
    printed = capsys.readouterr().out
    caution = "The embedded tiny model knows no photos, only drawn scenes: what it answers about photos means nothing."
    assert printed.startswith(caution + "\n") and "this model" in printed and "base" not in printed
    assert printed.splitlines()[-1] == "runs/evaluate-embedded-photos/report.html"
    run = Path("runs/evaluate-embedded-photos")
    assert [path.name for path in run.joinpath("data").iterdir()] == ["test.jsonl"]
    assert len(list(run.joinpath("trajectories").glob("alone-*.jsonl"))) == len(CONDITIONS)
    assert read_json(run / "manifest.json")["profile"] == "cpu" and not run.joinpath("training").exists()
    metrics = read_json(run / "metrics.json")
    assert {name: found["n"] for name, found in metrics["conditions"]["alone"].items()} == dict.fromkeys(CONDITIONS, 2)
    page = run.joinpath("report.html").read_text()
    assert page.count(caution) == 1 and "Notebooks" not in page and "RL, " not in page
    assert "<h1>Two rounds with super-resolution answer " in page and "held-out" not in page

    monkeypatch.setattr(experiments, "load_policy", None)  # what is there is not answered again
    __main__.main(command)
    assert read_json(run / "metrics.json") == metrics
    capsys.readouterr()
    __main__.main(["status", "--name", run.name])
    told = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert told == [[name, "done"] for name in ("data", *(f"alone, {c}" for c in CONDITIONS))]
    assert not run.joinpath("old").exists()


def test_a_benchmark_alone_asks_for_its_test_rows_only(mirror, tmp_path, monkeypatch):
    (mirror / "manoja328/tallyqa/train.json").unlink()  # only training reads it
    (mirror / "yfan1997/GRIT_data/tallyqa_val.jsonl").unlink()
    profile, name, settings = experiments.alone(str(mirror), benchmarks=("vsr", "gqa"), questions=5)  # any folder
    assert name == "evaluate-mirror-vsr-gqa"
    sizes = dict.fromkeys(("rollout_batch", "micro_batch", "batch_size"), 8)
    run = open_run(profile, name, {**settings, **sizes, "mirror": str(mirror)}, tmp_path / "runs")
    assert list(sets.prepare(run)) == ["test"]
    samples = read_samples(run.samples("test"))
    assert [s.family for s in samples] == ["VSR", "GQA", "VSR", "GQA", "VSR"]
    assert not run.samples("pool").exists() and not run.samples("validation").exists()


def test_a_model_has_the_settings_of_its_profile(own):
    for model, profile in {
        "embedded": "cpu", "Qwen/Qwen2.5-VL-7B-Instruct": "paper-7b", "Qwen/Qwen3.5-2B": "qwen3.5-2b",
        "/models/a-qwen": "paper",
    }.items():  # fmt: skip
        chosen, _, settings = experiments.alone(model, own)
        config = load_config(chosen, settings)
        assert chosen == profile and (config.model, config.test, config.pool) == (model, 3, 0), model
        looking = single.settings(model, {})
        assert replace(config, data="scenes", own="", test=looking.test) == replace(  # in the same precision, too
            looking, pool=0, curated=0, validation=0, stage_steps=(0,)
        ), model


def test_a_wrong_evaluation_is_one_sentence_and_makes_nothing(own, monkeypatch):
    monkeypatch.setenv("OFFLINE", "1")
    table = [
        (["--model", "x"], "expected DATA=own.jsonl or BENCH=vsr,tallyqa,gqa"),
        (["--own", "photos.jsonl", "--bench", "vsr"], "DATA=photos.jsonl and BENCH=vsr: expected one of them"),
        (["--own", "gone.jsonl"], "DATA=gone.jsonl: no such file"),
        (["--own", "photos.jsonl", "--adapter", "here"], "ADAPTER=here: expected a folder with adapter_config.json"),
        (["--bench", "vqa"], "expected some of vsr, tallyqa, gqa"),
        (["--bench", "VSR"], "not in the cache (OFFLINE=1): yfan1997/GRIT_data/vsr_val.jsonl"),
        (["--name", "never-made"], "curated.jsonl is missing; `make curate` with the same settings makes it, or give "),
    ]
    for arguments, said in table:
        with pytest.raises(SystemExit) as ended:
            __main__.main(["evaluate", *arguments])
        text = str(ended.value)
        assert said in text and "\n" not in text and not Path("runs").exists(), (arguments, text)


def test_the_notebooks_refuse_a_run_that_trains_nothing(own):
    settings = {"pool": 0, "curated": 0, "validation": 0, "stage_steps": [0]}
    with pytest.raises(SystemExit, match="pool=0: there is nothing to train on; `make evaluate` measures"):
        __main__.main(["run", "--name", "r", "--set", json.dumps(settings)])


def test_the_hosted_notebook_asks_for_an_address_and_is_of_one_profile(tmp_path):
    cells = [cell.source for cell in nbformat.read(COLAB, as_version=4).cells if cell.cell_type == "code"]
    given = {}
    exec(cells[0], given)
    assert PROFILES[given["profile"]].model == given["model"] and load_config(given["profile"], given["training"])
    code = cells[0] + "\n" + cells[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.endswith("AssertionError: put the address of your copy of the kit into `repository`\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_the_hosted_notebook_runs_with_a_tiny_checkpoint(mirror, tmp_path, monkeypatch):
    for number in (*range(300, 330), *range(400, 445)):
        mirror.joinpath("images", "VG_100K", f"{number}.jpg").write_bytes(jpeg(number))
    for number in (*range(100, 125), *range(330, 340)):
        mirror.joinpath("images", f"{number:012d}.jpg").write_bytes(jpeg(number))
    model = save_random("qwen3_vl", tmp_path / "Qwen")
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
    parameters = {"folder": str(clone), "model": str(model), "photo": str(photo), "questions": 6}
    parameters |= {"question": "How many dots?"}  # the one that it was taught
    parameters |= {"settings": json.dumps(small), "training": json.dumps(training)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    made = papermill.execute_notebook(COLAB, "made.ipynb", parameters, kernel_name="python3")
    shown = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in shown)
    assert "GPU memory at its peak" in said and re.search(r"draft:\s+2\s+regions:\s+\d", said)
    assert re.search(r"figure:.*looks/300-1\.png", said)
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    for name, checkpoints in (("twenty", ["alone"]), ("short", ["base", "trained"])):
        assert list(read_json(clone / "runs" / name / "metrics.json")["conditions"]) == checkpoints
