import json

import bench
import pytest

from mags_kit.records import read_json

SETTINGS = {
    "round_tokens": 64, "view_pixels": 112**2, "first_view_pixels": 112**2, "num_generations": 4, "rollout_batch": 8,
    "micro_batch": 2, "magnifier": "realesr-animevideov3",
}  # fmt: skip


@pytest.mark.long
def test_a_tiny_model_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAGS_RUNS", str(tmp_path))
    result = bench.main(["--profile", "paper", "--tiny", "--set", json.dumps(SETTINGS)])
    assert read_json(tmp_path / "bench" / "bench.json") == json.loads(json.dumps(result))
    assert result["trajectories a step"] == 8 and result["tokens sampled a second"] > 0
    parts = {"sampling, in TRL's loop", "log-probabilities", "backward", "optimizer"}
    seconds = result["seconds"]
    assert parts < set(seconds) and 0 < sum(seconds[part] for part in parts) < seconds["a whole step"]
    assert "GB expected by part, at the peak" in capsys.readouterr().out
