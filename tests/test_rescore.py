"""A stored run scored anew, compared, and held against claims; each way to break one is found, with a sentence."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from mags_kit.__main__ import main
from mags_kit.config import load_config
from mags_kit.method.protocol import ANSWER, DRAFT, VERDICT, WRONG, part, tool_call_text
from mags_kit.records import Region, Sample, Trajectory, View, read_json, trajectory_from, write_json, write_jsonl
from mags_kit.evaluation import rescore, tables
from mags_kit.evaluation.conditions import ANOTHER, BLANKED, MAIN, ONE, ORACLE, RANDOM, VOTE, majority
from mags_kit.evaluation.evaluate import metrics, scored
from mags_kit.evaluation.analysis import findings
from mags_kit.run import Run

ROOT = Path(__file__).parents[1]
TRUTHS = ["1", "2", "3", "4"] * 6


def sample(i: int) -> Sample:
    boxes = ((10, 10, 30, 30),) if i % 2 else ()
    return Sample(
        f"test-{i:05d}", f"images/{i // 2}.png", "How many?", TRUTHS[i], "count", "own", boxes, {"cards": i % 3}
    )


def answered(i: int, right: bool, rounds: int) -> Trajectory:
    given = TRUTHS[i] if right else "9"
    if rounds == 1:
        return Trajectory(sample(i), (96, 64), "t", (part(ANSWER, given),), (5,), answer=given)
    replies = part(DRAFT, "9") + tool_call_text([(0, 0, 500, 500)]), part(VERDICT, WRONG) + part(ANSWER, given)
    look = {"regions": (Region((0, 0, 48, 32), "ok"),), "views": (View((0, 0, 50, 34), (64, 64)),)}
    read = {"draft": "9", "verdict": WRONG, "answer": given}
    return Trajectory(sample(i), (96, 64), "t", replies, (9, 5), **look, magnifier="bicubic", **read)


def make(folder: Path, seed: int = 0, grid: bool = True) -> Run:
    """A finished run of 24 questions about 12 images: one round solves every fourth, two rounds when trained all but
    every fifth; as evaluation leaves it."""
    run = Run(folder, replace(load_config("smoke"), seed=seed, grid="full" if grid else "short", test=24))
    write_json(run.path / "config.json", asdict(run.config))
    write_json(run.manifest, {"profile": "smoke", "steps": {}})
    for i in range(12):
        run.data.joinpath("images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64), (20 * i, seed, 0)).save(run.data / f"images/{i}.png")
    write_jsonl(run.samples("test"), [sample(i) for i in range(24)])
    checkpoints = {}
    for checkpoint in ("base", "trained"):
        good = {ONE: 4, MAIN: 5 if checkpoint == "trained" else 4, BLANKED: 4, RANDOM: 3, ANOTHER: 3}
        names = good if grid else (ONE, MAIN)
        results = {
            name: [
                answered(i, (i % good[name] > 0) == (name == MAIN and checkpoint == "trained"), 1 + (name != ONE))
                for i in range(24)
            ]
            for name in names
        }
        if grid:
            results[ORACLE] = [t for t in results[MAIN] if t.sample.boxes]
            results[VOTE] = [majority([t, t, t]) for t in results[ONE]]
        for name, trajectories in results.items():
            path = run.trajectories(checkpoint, name)
            results[name] = [scored(t, run.config) for t in trajectories]
            write_jsonl(path, results[name])
        checkpoints[checkpoint] = results
    write_json(run.metrics, metrics(checkpoints["base"], checkpoints["trained"]))
    write_json(run.path / "findings.json", findings(checkpoints, run.config))
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


def test_a_whole_run_comes_out_as_stored(run, command):
    text, status = command("rescore", "--name", "r")
    assert text.endswith("14 files of trajectories scored again, without a difference\n") and status == 0


def test_a_run_of_a_kit_with_other_settings_is_read(tmp_path, command):
    run = make(tmp_path / "runs" / "old", grid=False)
    stored = read_json(run.path / "config.json")
    del stored["grid"]
    write_json(
        run.path / "config.json", stored | {"gone_since": 3, "own": "/gone.jsonl", "mirror": "/gone", "model": "/gone"}
    )
    run.findings.unlink()
    text, status = command("rescore", "--name", "old")
    assert status == 0 and "4 files" in text


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, changed: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed))


def shuffle_answers(run):
    path = run.trajectories("trained", MAIN)
    made = rows(path)
    rewrite(path, [row | {"answer": made[i - 1]["answer"]} for i, row in enumerate(made)])


def edit_a_verdict(run):
    path = run.trajectories("trained", MAIN)
    made = rows(path)
    rewrite(path, [made[0] | {"verdict": "right"}, *made[1:]])


def shuffle_all_but_the_questions(run):
    path = run.trajectories("trained", MAIN)
    made = rows(path)
    turned = [made[i - 1] | {"sample": row["sample"]} for i, row in enumerate(made)]
    rewrite(path, [asdict(scored(trajectory_from(row), run.config)) for row in turned])


def shuffle_lines(run):
    path = run.trajectories("trained", MAIN)
    rewrite(path, rows(path)[::-1])


def shuffle_truths(run):
    made = rows(run.samples("test"))
    rewrite(run.samples("test"), [row | {"answer": made[i - 1]["answer"]} for i, row in enumerate(made)])


def cut_in_a_line(run):
    path = run.trajectories("base", ONE)
    path.write_text(path.read_text()[:-200])


def cut_after_a_line(run):
    path = run.trajectories("base", ONE)
    rewrite(path, rows(path)[:-1])


def lose_a_file(run):
    run.trajectories("trained", ONE).unlink()


def better_numbers(run):
    run.metrics.write_text(run.metrics.read_text().replace('"accuracy": 0.7916', '"accuracy": 0.8916'))


def edit_a_reward(run):
    path = run.trajectories("trained", MAIN)
    made = rows(path)
    made[0]["rewards"]["answer"] = 1.0 - made[0]["rewards"]["answer"]
    rewrite(path, made)


BREAKS = {
    shuffle_answers: "answer differs in 24 of 24 (first test-00000: ",
    edit_a_verdict: "verdict differs in 1 of 24 (first test-00000: stored 'right', now 'wrong')",
    shuffle_all_but_the_questions: "metrics.json: conditions/trained/two rounds, super-resolution/accuracy is stored",
    shuffle_lines: "expected the 24 questions of test.jsonl in their order, line 1 differs; restore it",
    shuffle_truths: "base-one_round-full_view.jsonl: expected the 24 questions of test.jsonl in their order, line 1",
    cut_in_a_line: "base-one_round-full_view.jsonl: expected a whole file of trajectories (",
    cut_after_a_line: "expected the 24 questions of test.jsonl in their order, found 23; restore it",
    lose_a_file: "trained-one_round-full_view.jsonl is missing, and metrics.json has numbers of it; restore it",
    better_numbers: "metrics.json: conditions/trained/two rounds, super-resolution/accuracy is stored as 0.8916",
    edit_a_reward: "reward 'answer' differs in 1 of 24 (first test-00000: ",
}  # fmt: skip


def test_a_broken_run_is_found_by_both_commands(tmp_path, command):
    write_claims(tmp_path / "results" / "claims.yaml")
    for broken, said in BREAKS.items():
        name = broken.__name__
        broken(make(tmp_path / "runs" / name))
        text, status = command("rescore", "--name", name)
        assert said in (text or str(status)) and status, name
        text, status = command("check", "--name", name)
        assert [line for line in text.splitlines() if line.startswith("broken  ") and said in line], name
        assert status == 1, name


def write_claims(path: Path, **changes) -> None:
    accuracy = "metrics/conditions/trained/two rounds, super-resolution/accuracy"
    claim = {"name": "trained", "measures": accuracy, "value": 79.2, "tolerance": 1, "n": 24, "source": "x"} | changes
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"claims": [claim], "context": []}))


def test_a_claim_holds_falls_short_or_is_not_measured(run, command):
    table = [
        ({}, "holds         trained: 79.2 measured, 79.2 ± 1 claimed, n = 24", 0),
        ({"value": 81.0}, "falls short   trained: 79.2 measured, 81.0 ± 1 claimed, n = 24", 1),
        ({"value": 77.0}, "falls short   trained: 79.2 measured, 77.0 ± 1 claimed, n = 24", 1),
        ({"value": 77.0, "least": True}, "holds         trained: 79.2 measured, at least 77.0 ± 1 claimed", 0),
        ({"n": 900}, "not measured  trained: measured on 24 questions, the claim is about 900", 2),
        ({"measures": "metrics/conditions/trained/magic/accuracy"}, "has no metrics/conditions/trained/magic", 2),
        ({"measures": "seeds/conditions/trained/x"}, "not measured  trained: the run has no seeds/conditions", 2),
        ({"measures": "findings/trained/differences/one round, full view/difference", "value": 54.2}, "holds", 0),
    ]
    for changes, said, status in table:
        write_claims(run.path.parents[1] / "results" / "claims.yaml", **changes)
        text, ended = command("check", "--name", "r")
        assert said in text and ended == status and len(text.splitlines()) == 1, changes


def test_two_runs_are_compared_question_by_question(run, tmp_path, command):
    other = make(tmp_path / "runs" / "s", seed=1)
    path = other.trajectories("trained", MAIN)
    write_jsonl(path, [answered(i, i == 0, 2) for i in range(20)])
    text, status = command("compare", "r", "s")
    lines = text.splitlines()
    assert status == 0 and lines[1] == "settings that differ: seed: 0 and 1"
    [line] = [line for line in lines if line.startswith(f"trained, {MAIN}")]
    assert "80.0% and 5.0%, A less B +75.0 points" in line and "A is better (n = 20, 10 images; " in line
    assert line.endswith("; 4 questions are in one of them only")
    assert "    right in A only: test-00001, test-00002, test-00003, test-00004, test-00006 and 11 more" in lines
    alike = [line for line in lines if ": not significant (n = 24, 12 images" in line]
    assert len(alike) == 11  # two of the 13 are about 12 questions
    found = rescore.compare(run, other)[f"trained, {MAIN}"]
    assert found["low"] < 0.75 < found["high"] and not found["tied"] and found["only B"] == ["test-00000"]


def test_settings_that_one_run_does_not_have_are_told(run, tmp_path, command):
    make(tmp_path / "runs" / "s")
    for name, settings in (("r", {"seed": 0, "grid": "full"}), ("s", {"seed": 1, "x": 2})):
        (tmp_path / "runs" / name / "config.json").write_text(json.dumps(settings))
    text, _ = command("compare", "r", "s")
    assert text.splitlines()[1] == "settings that differ: seed: 0 and 1; grid: 'full' and 'absent'; x: 'absent' and 2"


def test_runs_without_a_common_question_are_one_sentence(run, tmp_path):
    other = make(tmp_path / "runs" / "s")
    for path in other.path.joinpath("trajectories").iterdir():
        rewrite(path, [row | {"sample": row["sample"] | {"question": "Else?"}} for row in rows(path)])
    with pytest.raises(ValueError, match="expected common questions, found none"):
        rescore.compare(run, other)


def test_tables_of_findings(run):
    metrics, found = read_json(run.metrics), read_json(run.findings)
    grid = tables.save(tables.grid_table(metrics, found, "trained"), run, "03_grid")
    assert grid.loc[ONE, "significant"] == "yes" and grid.loc[MAIN, "significant"] == "" and "images" in grid.columns
    assert run.path.joinpath("tables/03_grid.csv").read_text().startswith(',"accuracy, %",n,')
    assert r"accuracy, \%" in run.path.joinpath("tables/03_grid.tex").read_text()
    assert tables.needed_table(found).loc[f"trained: {MAIN}", "of those solved, without it"] == "21"  # 4 of 19
    assert tables.where_table(found, "trained").loc[("family", "count"), "questions"] == 24
    costs = {"trained": {MAIN: {"visual tokens a question": 50, "seconds a question": 0.002}}}
    assert tables.looking_table(found, "trained", costs).loc[MAIN, "seconds a question"] == 0.002
    assert tables.what_each_isolates([ONE, RANDOM]).kind.tolist() == ["baseline", "control"]


def test_none_of_it_loads_torch():
    code = "import sys; from mags_kit.evaluation import claims, rescore; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
