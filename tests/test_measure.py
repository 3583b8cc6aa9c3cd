import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure_gpu.py"


@pytest.mark.slow
def test_the_measurement_runs_through_on_a_tiny_shape(tmp_path):
    """Its code path on whatever is here; the numbers are for a GPU."""
    settings = {
        "round_tokens": 64, "view_pixels": 112**2, "first_view_pixels": 112**2, "samples_per_step": 2,
        "num_generations": 4, "rollout_batch": 4, "micro_batch": 2,
    }  # fmt: skip
    command = [sys.executable, SCRIPT, "--shape", "tiny", "--steps", "1", "--folder", tmp_path]
    done = subprocess.run([*command, "--set", json.dumps(settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout[done.stdout.index("\n{") :])
    assert found["trajectories a step"] == 8 and found["seconds a step"][0] > 0 and found["tokens sampled a second"] > 0
    assert not list(tmp_path.iterdir())  # the random checkpoint is gone
