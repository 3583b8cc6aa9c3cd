import os
import subprocess
import sys
from pathlib import Path

import pytest

from mags_kit import __main__

ROOT = Path(__file__).parents[1]


def test_a_wrong_argument_is_one_sentence(tmp_path, monkeypatch):
    cases = [
        ([], "the following arguments are required: COMMAND; see `python -m mags_kit --help`"),
        (["trian"], "argument COMMAND: invalid choice: 'trian'"),
        (["run", "--jop", "smoke"], "unrecognized arguments: --jop smoke"),
        (["run", "--job", "smok"], "argument --job: invalid choice: 'smok'"),
        (["plan", "--profile", "huge"], "PROFILE='huge' is unknown; expected one of smoke"),
        (["plan", "--set", "{sed: 1}"], "setting 'sed' is unknown; did you mean seed?"),
        (["curate", "nix"], "part 'nix' is unknown; expected one of curate, train, evaluate"),
        (["train", "--name", "never-made"], "never-made/data/curated.jsonl is missing; `make curate` with the same"),
        (["evaluate", "--model", "x"], "MODEL, ADAPTER and N need questions: expected DATA=own.jsonl or BENCH="),
        (["status", "--name", "never-made"], "NAME='never-made': expected the name of a folder under runs/"),
        (["merge", "--name", "never-made"], "NAME='never-made': expected the name of a folder under runs/"),
    ]
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)
    failures = []
    for arguments, said in cases:
        with pytest.raises(SystemExit) as ended:
            __main__.main(arguments)
        text = str(ended.value)
        if not (text.startswith("mags_kit: ") and said in text and "\n" not in text):
            failures.append((arguments, said, text))
    assert not failures and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_wrong_command_is_one_sentence_and_makes_nothing():
    cases = [
        (["--own", "gone.jsonl"], "mags_kit: DATA=gone.jsonl: no such file"),
        (["--profile", "paper"], "mags_kit: http://127.0.0.1:9 does not answer, and this run needs from it Qwen/"),
        (["--set", "{data: benchmarks}"], "mags_kit: http://127.0.0.1:9 does not answer, and this run needs from it "),
    ]
    environ = {k: v for k, v in os.environ.items() if k != "OFFLINE"} | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    failures = []
    for arguments, said in cases:
        command = [sys.executable, "-m", "mags_kit", "run", "--name", "never-made", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
        lines = done.stderr.strip().splitlines()
        if done.returncode != 1 or len(lines) != 1 or not lines[0].startswith(said):
            failures.append((arguments, said, done.stderr))
    assert not failures and not (ROOT / "runs" / "never-made").exists()


def test_importing_the_kit_is_instant_and_loads_no_heavy_library():
    code = "import mags_kit, sys; print({'torch', 'transformers', 'matplotlib', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
