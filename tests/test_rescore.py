"""A stored run scored anew, compared, and held against claims; each way to break one is found, with a sentence."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mags_kit.__main__ import main
from mags_kit.config import load_config
from mags_kit.method.protocol import ANSWER, DRAFT, VERDICT, WRONG, part, tool_call_text
from mags_kit.records import Region, Sample, Trajectory, View, read_json, trajectory_from, write_json, write_jsonl
from mags_kit.evaluation import claims, rescore, tables
from mags_kit.evaluation.conditions import BLANKED, MAIN, ONE, ORACLE, RANDOM
from mags_kit.evaluation.evaluate import metrics, scored
from mags_kit.evaluation.analysis import findings
from mags_kit.run import Run

TRUTHS = ["1", "2", "3", "4"] * 6


def sample(i: int) -> Sample:
    boxes = ((10, 10, 30, 30),) if i % 2 else ()
    return Sample(f"test-{i:05d}", f"images/{i // 2}.png", "How many?", TRUTHS[i], "count", "own", boxes)


def answered(i: int, right: bool, rounds: int = 2) -> Trajectory:
    given = TRUTHS[i] if right else "9"
    if rounds == 1:
        return Trajectory(sample(i), (96, 64), "t", (part(ANSWER, given),), (5,), answer=given)
    replies = part(DRAFT, "9") + tool_call_text([(0, 0, 500, 500)]), part(VERDICT, WRONG) + part(ANSWER, given)
    look = {"regions": (Region((0, 0, 48, 32), "ok"),), "views": (View((0, 0, 50, 34), (64, 64)),)}
    read = {"draft": "9", "verdict": WRONG, "answer": given}
    return Trajectory(sample(i), (96, 64), "t", replies, (9, 5), **look, magnifier="bicubic", **read)


def make(folder: Path, seed: int = 0) -> Run:
    """A finished run of 24 questions about 12 images: one round solves every fourth, two rounds of the trained policy all
    but every fifth; as evaluation leaves it."""
    run = Run(folder, load_config("smoke", {"seed": seed}))
    write_json(run.path / "config.json", asdict(run.config))
    write_json(run.manifest, {"profile": "smoke", "steps": {}})
    write_jsonl(run.samples("test"), [sample(i) for i in range(24)])
    checkpoints = {}
    for checkpoint, solved in (("base", lambda i: i % 4 == 0), ("trained", lambda i: i % 5 > 0)):
        results = {
            ONE: [answered(i, i % 4 == 0, rounds=1) for i in range(24)], MAIN: [answered(i, solved(i)) for i in range(24)],
            **{name: [answered(i, i % 3 == 0) for i in range(24)] for name in (BLANKED, RANDOM)},
        }  # fmt: skip
        results |= {ORACLE: [t for t in results[MAIN] if t.sample.boxes]}
        checkpoints[checkpoint] = {name: [scored(t, run.config) for t in each] for name, each in results.items()}
        for name, trajectories in checkpoints[checkpoint].items():
            write_jsonl(run.trajectories(checkpoint, name), trajectories)
    write_json(run.metrics, metrics(checkpoints))
    write_json(run.findings, findings(checkpoints, run.config))
    return run


@pytest.fixture
def run(tmp_path):
    return make(tmp_path / "runs" / "r")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`command("check", "--name", "r")`: what it prints, and its exit status."""
    monkeypatch.setattr("mags_kit.run.PROJECT", tmp_path)

    def do(*arguments) -> tuple[str, int]:
        status = 0
        try:
            main([*arguments])
        except SystemExit as ended:
            status = ended.code
        return capsys.readouterr().out, status

    return do


def test_a_whole_run_comes_out_as_stored_also_one_of_a_kit_with_other_settings(run, command):
    config = read_json(run.path / "config.json")
    del config["grid"]
    elsewhere = {"gone_since": 3, "own": "/gone.jsonl", "mirror": "/gone", "model": "/gone", "magnifier": "/gone.pth"}
    write_json(run.path / "config.json", config | elsewhere)
    text, status = command("rescore", "--name", "r")
    assert text.endswith("10 files of trajectories scored again, without a difference\n") and status == 0


def rewrite(path: Path, change) -> None:
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def shuffled(name):
    return lambda made: [row | {name: made[i - 1][name]} for i, row in enumerate(made)]


def questions_mixed(made):
    """Each trajectory with another's question, scored as evaluation would."""
    mixed = [trajectory_from(made[i - 1] | {"sample": row["sample"]}) for i, row in enumerate(made)]
    return [asdict(scored(t, load_config("smoke"))) for t in mixed]


def test_a_broken_run_is_found_by_both_commands(tmp_path, command):
    write_claims(tmp_path / "results" / "claims.yaml")
    whole, order = make(tmp_path / "runs" / "whole"), "expected the 24 questions of test.jsonl in their order"
    main, one = (whole.trajectories("trained", name).relative_to(whole.path) for name in (MAIN, ONE))
    cases = [  # a file, what is done to its rows, and what is said
        (main, shuffled("answer"), f"{main.name}: test-00000/answer is stored as"),
        (main, lambda made: [made[0] | {"verdict": "right"}, *made[1:]], "verdict is stored as 'right', now 'wrong'"),
        (main, lambda made: [made[0] | {"rewards": {}}, *made[1:]], "test-00000/rewards/answer is stored as 'absent'"),
        (main, questions_mixed, "metrics.json: conditions/trained/two rounds, super-resolution/accuracy is stored as"),
        (main, lambda made: made[::-1], f"{main.name}: {order}, found 24, others or in another order; restore it"),
        (one, lambda made: made[:-1], f"{one.name}: {order}, found 23"),
        ("data/test.jsonl", shuffled("answer"), f"base-one_round-full_view.jsonl: {order}"),
        (one, None, f"{one.name} is missing, and metrics.json has numbers of it; restore it"),
        (one, b'{"sample"', f"{one.name}: expected a whole file of trajectories ("),
        ("metrics.json", b'{"conditions": {}}', "full view/accuracy is stored as 'absent', now 0.25"),
    ]
    missed = []
    for number, (file, change, said) in enumerate(cases):
        path = make(tmp_path / "runs" / f"r{number}").path / file
        if change is None:
            path.unlink()
        elif isinstance(change, bytes):
            path.write_bytes(change)
        else:
            rewrite(path, change)
        text, status = command("rescore", "--name", f"r{number}")
        lines, checked = command("check", "--name", f"r{number}")
        broken = [line for line in lines.splitlines() if line.startswith("broken  ") and said in line]
        if said not in (text or str(status)) or not status or not broken or checked != 1:
            missed.append((said, text, status, lines, checked))
    assert not missed


def write_claims(path: Path, **changes) -> None:
    accuracy = "metrics/conditions/trained/two rounds, super-resolution/accuracy"
    claim = {"name": "trained", "measures": accuracy, "value": 79.2, "tolerance": 1, "n": 24, "profile": "smoke"}
    claim |= changes
    other = {"name": "other", "measures": "x", "value": 1, "tolerance": 1, "n": 1, "profile": "reference"}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"claims": [claim, other], "bytes": {"smoke": "0"}, "context": []}))


def test_a_claim_holds_falls_short_or_is_not_measured(run, command):
    table = [
        ({}, "holds         trained: 79.2 here, 79.2 ± 1 published", 0),
        ({"value": 81.0}, "falls short   trained: 79.2 here, 81.0 ± 1 published", 1),
        ({"value": 77.0}, "falls short   trained: 79.2 here, 77.0 ± 1 published", 1),
        ({"n": 900}, "not measured  trained: measured on 24 questions, the claim is about 900", 0),
        ({"measures": "metrics/conditions/trained/magic/accuracy"}, "has no metrics/conditions/trained/magic/accuracy", 0),
        ({"measures": "seeds/all seeds/x"}, "no seeds/all seeds/x ('seeds' is missing); `make smoke` measures it", 0),
        ({"measures": "findings/trained/differences/one round, full view/difference", "value": 54.2}, "holds", 0),
    ]
    for changes, said, status in table:
        write_claims(run.path.parents[1] / "results" / "claims.yaml", **changes)
        text, ended = command("check", "--name", "r")
        first, last = text.splitlines()
        assert said in first and ended == status, changes
        assert last == "Of the other published numbers, `make reference` measures 1"


def test_a_run_ends_with_one_line_on_the_published_numbers(run, monkeypatch):
    monkeypatch.setattr("mags_kit.run.PROJECT", run.path.parents[1])
    file = run.path.parents[1] / "results" / "claims.yaml"
    write_claims(file)
    holds = "It reproduces here: 1 of 1 numbers that this kit has published of `make smoke` hold"
    listed = " (trained 79.2 here, 79.2 ± 1 published: holds)"
    otherwise = "; metrics.json is not the same as ours to the byte, as other processors and libraries round otherwise"
    assert claims.compare(run).line == holds + otherwise + listed
    own = hashlib.sha256(run.metrics.read_bytes()).hexdigest()
    file.write_text(file.read_text().replace('"smoke": "0"', f'"smoke": "{own}"'))
    assert claims.compare(run).line == f"{holds}; metrics.json is the same as ours, to the byte{listed}"
    write_json(run.path / "config.json", read_json(run.path / "config.json") | {"seed": 3})
    assert claims.compare(run).line == holds + listed, "another seed is held against the numbers, not the bytes"
    write_claims(file, value=20)
    assert claims.compare(run).line.startswith("It does not reproduce here: 0 of 1 numbers that this kit has published")
    write_claims(file, measures="seeds/all seeds/x")
    said = "Nothing published was measured: 0 of 1 numbers that this kit has published of `make smoke` hold"
    assert claims.compare(run).sentence == said
    write_json(run.path / "config.json", read_json(run.path / "config.json") | {"test": 7, "own": "my.jsonl"})
    file.rename(file.with_suffix(".away"))
    assert "claims.yaml is missing, which comes with a clone of the kit" in claims.compare(run).line
    file.with_suffix(".away").rename(file)
    said = "Held against no published number: settings differ from profile smoke (own=my.jsonl, test=7)"
    assert claims.compare(run).line == said


def test_two_runs_are_compared_question_by_question(run, tmp_path, command):
    other = make(tmp_path / "runs" / "s", seed=1)
    write_jsonl(other.trajectories("trained", MAIN), [answered(i, i == 0) for i in range(20)])
    write_json(other.path / "config.json", read_json(other.path / "config.json") | {"x": 2})
    text, status = command("compare", "r", "s")
    lines = text.splitlines()
    assert status == 0 and lines[1] == "settings that differ: seed: 0 and 1; x: 'absent' and 2"
    [line] = [line for line in lines if line.startswith(f"trained, {MAIN}")]
    assert "80.0% and 5.0%, A less B +75.0 (" in line and "A is better (n = 20, 10 images; " in line
    assert line.endswith("; 16 right in A only, 1 in B only; 4 asked in one of them only)")
    assert len([line for line in lines if ": not significant (n = 24, 12 images" in line]) == 7  # true regions: 12 each
    found = rescore.compare(run, other)[f"trained, {MAIN}"]
    assert found["low"] < 0.75 < found["high"] and not found["tied"]
    for path in other.path.joinpath("trajectories").iterdir():
        rewrite(path, lambda made: [row | {"sample": row["sample"] | {"question": "Else?"}} for row in made])
    with pytest.raises(ValueError, match="expected common questions and conditions, found none"):
        rescore.compare(run, other)


def test_tables_of_findings(run):
    metrics, found = read_json(run.metrics), read_json(run.findings)
    grid = tables.save(tables.grid_table(metrics, found, "trained"), run, "03_grid")
    assert grid.loc[ONE, "significant"] == "yes" and grid.loc[MAIN, "significant"] == "" and "images" in grid.columns
    assert run.path.joinpath("tables/03_grid.csv").read_text().startswith(',"accuracy, %",n,')
    assert r"accuracy, \%" in run.path.joinpath("tables/03_grid.tex").read_text()
    assert tables.gains_table(found["trained"]["where"]).loc[("family", "count"), "questions"] == 24
    costs = {"trained": {MAIN: {"visual tokens a question": 50, "seconds a question": 0.002}}}
    assert tables.looking_table(found, "trained", costs).loc[MAIN, "seconds a question"] == 0.002


def test_none_of_it_loads_torch():
    code = "import sys; from mags_kit.evaluation import claims, rescore; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
