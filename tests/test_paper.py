"""The `paper` profile whole, as `make reproduce` runs it: only the model's path, the data's path and sizes differ."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from random_model import save_random
from safetensors.numpy import load_file
from test_records import of_another_mode
from tiny_benchmarks import TEST_VG, jpeg, photo_server, write_mirror
from tiny_qwen import teach

from mags_kit import pipeline
from mags_kit.records import read_json

ROOT = Path(__file__).parents[1]
SIZES = {
    "pool": 6, "solve_rollouts": 2, "curated": 6, "validation": 3, "test": 99, "stage_steps": [1, 1],
    "samples_per_step": 2, "num_generations": 4, "rollout_batch": 4, "micro_batch": 4, "batch_size": 64,
    "round_tokens": 56, "view_pixels": 64 * 64, "validate_every": 1,
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_5"])  # JSON and XML tool calls
def test_the_paper_profile_runs_from_curation_to_the_report(kind, tmp_path):
    mirror = write_mirror(tmp_path / "mirror")
    pictures = mirror / "images" / "VG_100K"
    pictures.mkdir(parents=True)
    for number in (*range(300, 330), *range(400, 445), *TEST_VG):  # Visual Genome's; COCO's come from the server
        pictures.joinpath(f"{number}.jpg").write_bytes(jpeg(number))
    model = save_random(kind, tmp_path / "Qwen")
    teach(model, pictures / "300.jpg")
    for part in ("mags_kit", "notebooks"):  # a kit in a folder of its own, with its own `runs`
        tmp_path.joinpath(part).symlink_to(ROOT / part)
    settings = {"model": str(model), "mirror": str(mirror), **SIZES}
    command = [sys.executable, "-m", "mags_kit", "run", "--profile", "paper", "--set", json.dumps(settings)]
    with photo_server() as web:
        web.how = {800: "gone", 801: "cut", 802: "drop once", 803: "drip"}
        environ = {k: v for k, v in os.environ.items() if k not in ("OFFLINE", "no_proxy", "NO_PROXY")}
        environ |= {"MAGS_CACHE": str(tmp_path / "cache"), "http_proxy": web.url, "https_proxy": web.url}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    path, published = done.stdout.splitlines()[-2:]
    assert path == "runs/paper/report.html" and published.startswith("Held against no published number")
    assert not [name for name in web.asked if isinstance(name, str)]  # nothing but photos of COCO from the network

    run = tmp_path / "runs" / "paper"
    for step in pipeline.MAIN_NOTEBOOKS:
        cells = nbformat.read(run / "notebooks" / f"{step}.ipynb", as_version=4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
        for cell in cells:
            if re.search(r"^draw\.save\(", cell.source, re.MULTILINE):  # in no loop, under no condition
                assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    found = read_json(run / "metrics.json")["conditions"]
    for checkpoint in ("base", "trained"):
        families = found[checkpoint]["two rounds, super-resolution"]["families"]
        assert {name: family["n"] for name, family in families.items()} == {"VSR": 2, "TallyQA": 6, "GQA": 3}
    assert of_another_mode(run) == []
    report = (run / "report.html").read_text()
    assert "vsr_val.jsonl, row 1 (coco-000000000800.jpg): images.cocodataset.org: status 404</li>" in report
    assert "vsr_val.jsonl, row 2 (coco-000000000801.jpg): not a whole picture" in report
    assert "20 rows used, 2 left out." in report and f"The policy is {model}." in report
    state = read_json(run / "training" / "state.json")
    assert state["stages"] == ["stage 1", "stage 2"] and [row["step"] for row in state["validation"]] == [0, 1, 2]
    adapter = load_file(run / "training" / "stage 2" / "adapter" / "adapter_model.safetensors")
    assert any(values.any() for name, values in adapter.items() if "lora_B" in name)  # B starts at zero
    assert not run.joinpath("training", "best", "ref").exists()
