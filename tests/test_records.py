import json
import subprocess
import sys
from pathlib import Path

import pytest

from mags_kit import records
from mags_kit.records import Region, Sample, Trajectory, View

ROOT = Path(__file__).parents[1]


def of_another_mode(folder: Path) -> list[str]:
    """Files below a folder whose mode is not what the umask gives."""
    folder.joinpath("new").touch()
    mode = folder.joinpath("new").stat().st_mode
    folder.joinpath("new").unlink()
    return [path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_mode != mode]


def make_trajectory(**changes):
    sample = Sample("a", "a.jpg", "How many?", "3", "count", boxes=((1, 2, 3, 4),), meta={"seed": 1})
    base = {
        "sample": sample, "size": (640, 480), "condition": "test",
        "replies": ("<draft>2</draft>", "<answer>3</answer>"),
        "lengths": (4, 5), "regions": (Region((1, 2, 30, 40), "ok"),), "views": (View((0, 0, 32, 44), (64, 96)),),
        "magnifier": "bicubic", "draft": "2", "answer": "3",
    }  # fmt: skip
    return Trajectory(**base | changes)


def test_trajectories_read_back_as_written(tmp_path):
    several = Sample("a", "a.jpg", "What?", "sofa", answers=("couch",))
    made = [make_trajectory(), make_trajectory(regions=(), views=(), answer=None, outcome="no_answer", sample=several)]
    records.write_jsonl(tmp_path / "t.jsonl", made)
    assert records.read_trajectories(tmp_path / "t.jsonl") == made
    assert several.accepted == ("sofa", "couch") and several.truth == "sofa or couch"


def test_a_written_file_has_the_mode_that_the_umask_gives(tmp_path):
    code = "import sys; from mags_kit.records import write_json; write_json(sys.argv[1], 1)"
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):  # a new file, then in the place of another
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], cwd=ROOT, umask=umask, check=True)
        assert oct(tmp_path.joinpath("a").stat().st_mode & 0o777) == oct(mode)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_write_to_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    code = (
        "import resource, sys; from mags_kit.records import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(sys.argv[1], bytes(2000))\n"
        "except OSError as error: print(error.filename == sys.argv[1])"
    )
    tmp_path.joinpath("a").write_text("old")
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n" and [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_bad_line_is_named(tmp_path):
    for line in ("{'a': 1}", "[1]", "nonsense"):
        (tmp_path / "t.jsonl").write_text(json.dumps({"a": 1}) + "\n" + line + "\n")
        with pytest.raises(ValueError, match="line 2: expected one JSON object a line, in UTF-8; got"):
            records.read_jsonl(tmp_path / "t.jsonl")
