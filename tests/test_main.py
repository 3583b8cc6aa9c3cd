import os
import subprocess
import sys

import pytest

from mags_kit import __main__


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "the following arguments are required: COMMAND; see `python -m mags_kit --help`"),
        (["trian"], "argument COMMAND: invalid choice: 'trian'"),
        (["run", "--jop", "smoke"], "unrecognized arguments: --jop smoke"),
        (["run", "--job", "smok"], "argument --job: invalid choice: 'smok'"),
        (["plan", "--profile", "huge"], "PROFILE='huge' is unknown; expected one of smoke"),
        (["plan", "--set", "{sed: 1}"], "setting 'sed' is unknown; did you mean seed?"),
        (["curate", "nix"], "part 'nix' is unknown; expected one of curate, train, evaluate"),
        (["train", "nix"], "part 'nix' is unknown; expected one of curate, train, evaluate"),
        (["train", "--name", "never-made"], "never-made/data/curated.jsonl is missing; `make curate` with the same"),
        (["status", "--name", "never-made"], "NAME='never-made': expected the name of a folder under runs/"),
        (["merge", "--name", "never-made"], "NAME='never-made': expected the name of a folder under runs/"),
        (["publish", "--name", "../x"], "NAME='../x': expected the name of a folder under runs/"),
        (["try", "--set", "{seed"], "SET='{seed' is not YAML"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        __main__.main(arguments)
    text = str(ended.value)
    assert text.startswith("mags_kit: ") and said in text and "\n" not in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [0, 3])
def test_a_command_whose_output_is_read_no_further_ends_quietly_with_its_own_status(status):
    """As a pipe into `head` that ends at once; more is printed than a pipe and its buffer hold."""
    code = f"""
import sys
from mags_kit import __main__
def show(arguments):
    for _ in range(999):
        print("x" * 999)
    sys.exit({status})
__main__.show_status = show
__main__.main(["status"])
"""
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE)
    for end in (write, read):
        os.close(end)
    assert (process.communicate()[1], process.returncode) == (b"", status)
