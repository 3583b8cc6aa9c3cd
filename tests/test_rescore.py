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
from mags_kit.method.protocol import ANSWER, DRAFT, part, tool_call_text
from mags_kit.records import Region, Sample, Trajectory, View, read_json, trajectory_from, write_json, write_jsonl
from mags_kit.evaluation import claims, compare, evidence
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
    replies = part(DRAFT, "9") + tool_call_text([(0, 0, 500, 500)]), part(ANSWER, given)
    look = {"regions": (Region((0, 0, 48, 32), "ok"),), "views": (View((0, 0, 50, 34), (64, 64)),)}
    return Trajectory(sample(i), (96, 64), "t", replies, (9, 5), **look, magnifier="bicubic", draft="9", answer=given)


def make(folder: Path, seed: int = 0, grid: bool = True) -> Run:
    """A finished run of 24 questions about 12 images: one round solves every fourth, two rounds after RL all but
    every fifth; as evaluation leaves it."""
    run = Run(folder, replace(load_config("smoke"), seed=seed, grid="full" if grid else "short", test=24))
    write_json(run.path / "config.json", asdict(run.config))
    write_json(run.manifest, {"profile": "smoke", "steps": {}})
    for i in range(12):
        run.data.joinpath("images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64), (20 * i, seed, 0)).save(run.data / f"images/{i}.png")
    write_jsonl(run.samples("test"), [sample(i) for i in range(24)])
    run.best.mkdir(parents=True)
    run.best.joinpath("adapter_model.safetensors").write_bytes(b"adapter %d" % seed)
    checkpoints = {}
    for checkpoint in ("before", "after"):
        good = {ONE: 4, MAIN: 5 if checkpoint == "after" else 4, BLANKED: 4, RANDOM: 3, ANOTHER: 3}
        names = good if grid else (ONE, MAIN)
        results = {
            name: [
                answered(i, (i % good[name] > 0) == (name == MAIN and checkpoint == "after"), 1 + (name != ONE))
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
            evidence.note(run, checkpoint, name)
        checkpoints[checkpoint] = results
    write_json(run.metrics, metrics(checkpoints["before"], checkpoints["after"]))
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
    assert (
        text.endswith("14 files of trajectories scored anew; metrics.json is the same, byte for byte\n") and status == 0
    )


def test_a_run_of_a_kit_with_other_settings_is_read(tmp_path, command):
    run = make(tmp_path / "runs" / "old", grid=False)
    stored = read_json(run.path / "config.json")
    del stored["grid"]
    write_json(
        run.path / "config.json", stored | {"gone_since": 3, "own": "/gone.jsonl", "mirror": "/gone", "model": "/gone"}
    )
    for name in ("evidence.json", "findings.json"):
        run.path.joinpath(name).unlink()
    text, status = command("rescore", "--name", "old")
    assert status == 0 and "noted nothing of images and weights, so whether they are the same is not known" in text


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, changed: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in changed))


def shuffle_answers(run):
    path = run.trajectories("after", MAIN)
    made = rows(path)
    rewrite(path, [row | {"answer": made[i - 1]["answer"]} for i, row in enumerate(made)])


def shuffle_all_but_the_questions(run):
    path = run.trajectories("after", MAIN)
    made = rows(path)
    turned = [made[i - 1] | {"sample": row["sample"]} for i, row in enumerate(made)]
    rewrite(path, [asdict(scored(trajectory_from(row), run.config)) for row in turned])


def shuffle_lines(run):
    path = run.trajectories("after", MAIN)
    rewrite(path, rows(path)[::-1])


def shuffle_truths(run):
    made = rows(run.samples("test"))
    rewrite(run.samples("test"), [row | {"answer": made[i - 1]["answer"]} for i, row in enumerate(made)])


def cut_in_a_line(run):
    path = run.trajectories("before", ONE)
    path.write_text(path.read_text()[:-200])


def cut_after_a_line(run):
    path = run.trajectories("before", ONE)
    rewrite(path, rows(path)[:-1])


def another_adapter(run):
    run.best.joinpath("adapter_model.safetensors").write_bytes(b"adapter 1")


def change_an_image(run):
    Image.new("RGB", (96, 64), (1, 2, 3)).save(run.data / "images/3.png")


def lose_an_image(run):
    run.data.joinpath("images/3.png").unlink()


def lose_a_file(run):
    run.trajectories("after", ONE).unlink()


def better_numbers(run):
    run.metrics.write_text(run.metrics.read_text().replace('"accuracy": 0.7916', '"accuracy": 0.8916'))


def edit_a_reward(run):
    path = run.trajectories("after", MAIN)
    made = rows(path)
    made[0]["rewards"]["answer"] = 1.0 - made[0]["rewards"]["answer"]
    rewrite(path, made)


BREAKS = {
    shuffle_answers: "the reading of the answer gives something else for 24 of 24 (the first, test-00000: ",
    shuffle_all_but_the_questions: "metrics.json: conditions/after/two rounds, super-resolution/accuracy is 0.79",
    shuffle_lines: "line 1: id, image, answer, boxes, meta of 'test-00023' is not that of 'test-00000' in test.jsonl",
    shuffle_truths: "line 1: answer of 'test-00000' is not that of 'test-00000' in test.jsonl; the lines or the",
    cut_in_a_line: "before-one_round-full_view.jsonl is no whole file of trajectories (",
    cut_after_a_line: "expected a trajectory for each of 24 questions, found 23; it was cut short, or belongs to other",
    another_adapter: "the adapter is not the one that made trajectories/after-* (sha256 ",
    change_an_image: "images/3.png differs from what was noted (sha256 ",
    lose_an_image: "images/3.png is missing; the questions were answered on another; restore it",
    lose_a_file: "after-one_round-full_view.jsonl is missing, and metrics.json has numbers of it; restore it",
    better_numbers: "metrics.json: conditions/after/two rounds, super-resolution/accuracy is 0.8916",
    edit_a_reward: "the reward 'answer' gives something else for 1 of 24 (the first, test-00000: ",
}  # fmt: skip


@pytest.mark.parametrize("broken, said", BREAKS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_run_is_found_by_both_commands(run, command, broken, said):
    broken(run)
    text, status = command("rescore", "--name", "r")
    assert said in (text or str(status)) and status
    write_claims(run.path.parents[1] / "results" / "claims.yaml")
    text, status = command("check", "--name", "r")
    assert [line for line in text.splitlines() if line.startswith("broken  ") and said in line] and status == 1


def write_claims(path: Path, **changes) -> None:
    accuracy = "metrics/conditions/after/two rounds, super-resolution/accuracy"
    claim = {"name": "after RL", "measures": accuracy, "value": 79.2, "tolerance": 1, "n": 24, "source": "x"} | changes
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"claims": [claim], "context": []}))


@pytest.mark.parametrize(
    "changes, said, status",
    [
        ({}, "holds         after RL: 79.2 measured, 79.2 ± 1 claimed, n = 24", 0),
        ({"value": 81.0}, "falls short   after RL: 79.2 measured, 81.0 ± 1 claimed, n = 24", 1),
        ({"value": 77.0}, "falls short   after RL: 79.2 measured, 77.0 ± 1 claimed, n = 24", 1),
        ({"value": 77.0, "least": True}, "holds         after RL: 79.2 measured, at least 77.0 ± 1 claimed", 0),
        ({"n": 900}, "not measured  after RL: measured on 24 questions, the claim is about 900", 2),
        ({"measures": "metrics/conditions/after/magic/accuracy"}, "has no metrics/conditions/after/magic/accuracy", 2),
        ({"measures": "seeds/conditions/after/x"}, "not measured  after RL: the run has no seeds/conditions", 2),
        ({"measures": "findings/after/differences/one round, full view/difference", "value": 54.2}, "holds", 0),
    ],
)
def test_a_claim_holds_falls_short_or_is_not_measured(run, command, changes, said, status):
    write_claims(run.path.parents[1] / "results" / "claims.yaml", **changes)
    text, ended = command("check", "--name", "r")
    assert said in text and ended == status and len(text.splitlines()) == 1


def test_a_claim_about_seeds_is_about_their_mean():
    claim = claims.Claim("x", "seeds/conditions/accuracy", 50, 1, 9, "")
    seeds = {"seed 0": {"conditions": {"accuracy": 0.4, "n": 9}}, "seed 1": {"conditions": {"accuracy": 0.6, "n": 9}}}
    assert claims.check(claim, {"seeds": seeds}).said == "holds"
    assert claims.check(replace(claim, measures="seeds/1/conditions/accuracy"), {"seeds": seeds}).said == "falls short"
    assert claims.check(replace(claim, measures="seeds/7/conditions/accuracy"), {"seeds": seeds}).said == "not measured"
    seeds["all seeds"] = {MAIN: {"accuracy": {"accuracy": 0.5, "n": 9}}}  # which is no further seed
    assert claims.check(claim, {"seeds": seeds}).said == "holds"
    both = replace(claim, measures=f"seeds/all seeds/{MAIN}/accuracy/accuracy")
    assert claims.check(both, {"seeds": seeds}).said == "holds"


def test_two_runs_are_compared_question_by_question(run, tmp_path, command):
    other = make(tmp_path / "runs" / "s", seed=1)
    path = other.trajectories("after", MAIN)
    write_jsonl(path, [answered(i, i == 0, 2) for i in range(20)])
    text, status = command("compare", "r", "s")
    lines = text.splitlines()
    assert status == 0 and lines[1] == "settings that differ: seed: 0 and 1"
    [line] = [line for line in lines if line.startswith(f"after RL, {MAIN}")]
    assert "80.0% and 5.0%, A less B +75.0 points" in line and "A is better (n = 20, 10 images; " in line
    assert line.endswith("4 questions are in one of them only)")
    assert "    right in A only: test-00001, test-00002, test-00003, test-00004, test-00006 and 11 more" in lines
    assert sum(": tied (n = 24, 12 images" in line for line in lines) == 11  # two of the 13 are about 12 questions
    found = compare.compare(run, other)[f"after RL, {MAIN}"]
    assert found["low"] < 0.75 < found["high"] and not found["tied"] and found["only B"] == ["test-00000"]


@pytest.mark.parametrize(
    "a, b, lines",
    [
        ({"seed": 0}, {"seed": 0}, ["settings that differ: none"]),
        (
            {"seed": 0, "grid": "full"}, {"seed": 1},
            ["settings that differ: seed: 0 and 1", "not known to the older run, B: grid 'full'"],
        ),
        ({}, {"x": 1, "y": 2}, ["settings that differ: none", "not known to the older run, A: x 1, y 2"]),
        ({"x": 1}, {"y": 2}, ["settings that differ: none", "not known to A: y 2", "not known to B: x 1"]),
    ],
)  # fmt: skip
def test_settings_that_one_run_does_not_know_are_told_in_one_line(run, tmp_path, command, a, b, lines):
    make(tmp_path / "runs" / "s")
    for name, settings in (("r", a), ("s", b)):
        (tmp_path / "runs" / name / "config.json").write_text(json.dumps(settings))
    text, _ = command("compare", "r", "s")
    told = text.splitlines()[1:]
    assert told[: len(lines)] == lines and told[len(lines)].startswith("before RL")


def test_runs_without_a_common_question_are_one_sentence(run, tmp_path):
    other = make(tmp_path / "runs" / "s")
    for path in other.path.joinpath("trajectories").iterdir():
        rewrite(path, [row | {"sample": row["sample"] | {"question": "Else?"}} for row in rows(path)])
    with pytest.raises(ValueError, match="expected common questions, found none"):
        compare.compare(run, other)


def test_none_of_it_loads_torch():
    code = "import sys; from mags_kit.report import rescore, compare, claims; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
