"""Stored runs scored again without a model, and two of them compared question by question. Nothing is written."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from mags_kit.config import Config, load_config
from mags_kit.evaluation.analysis import findings
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS, DIRECT, ORACLE, answered_directly
from mags_kit.evaluation.evaluate import metrics, scored
from mags_kit.evaluation.statistics import paired_difference, with_holm
from mags_kit.evaluation.tables import points
from mags_kit.method.metrics import right
from mags_kit.method.parsing import parse_reply
from mags_kit.records import Outcome, Sample, Trajectory, as_json, read_json, read_samples, read_trajectories
from mags_kit.run import Run, made_before

SHOWN = 5  # differences of a file that are named; the rest is counted
READ = ("draft", "verdict", "answer", "outcome", "rewards")  # what a trajectory's replies give
SETTINGS = ("rewards", "gate", "round_tokens", "first_view_pixels")  # all that are read here


def stored_run(name: str, root: str | Path = "") -> Run:
    """A run folder with its SETTINGS only: others may be of an older kit, or name files of another machine. Rewards of
    the user's own count as far as their files are here."""
    path = made_before(name, root)
    stored = read_json(path / "config.json")
    rewards = stored.get("rewards", {}).items()
    stored["rewards"] = {n: w for n, w in rewards if ".py:" not in n or Path(n.rpartition(":")[0]).is_file()}
    return Run(path, load_config("cpu", {key: stored[key] for key in SETTINGS if key in stored}))


def report(run: Run) -> tuple[str, int]:
    """The lines of `make rescore`, and its exit status: 0 where all came out as stored, else 1."""
    if found := rescore(run):
        return "\n".join(found), 1
    missing = "" if run.metrics.exists() else "; there is no metrics.json to compare with"
    return f"{run.path}: {len([*_files(run)])} files of trajectories scored again, without a difference{missing}", 0


def rescore(run: Run) -> list[str]:
    """Score the stored trajectories of a run again: a sentence for each difference to what was stored. A file that
    can't be read, or that is not about the run's questions, is a ValueError of one sentence."""
    checkpoints, found = {}, []
    for checkpoint, name, path in _files(run):
        stored = _read(path, read_samples(run.samples("test")), name)
        again = [reread(t, run.config, name) for t in stored]
        values = ({t.sample.id: {key: getattr(t, key) for key in READ} for t in each} for each in (stored, again))
        found += _changes(path.name, *values)
        if again:
            checkpoints.setdefault(checkpoint, {})[name] = again
    if not {"alone", "base"} & set(checkpoints):
        raise ValueError(f"{run.path}: expected trajectories of the test set, found none; run notebook 03 first")
    for path, value in ((run.metrics, metrics(checkpoints)), (run.findings, findings(checkpoints, run.config))):
        found += _changes(path.name, read_json(path), value) if path.exists() else []
    return found


def _files(run: Run) -> Iterator[tuple[str, str, Path]]:
    """(checkpoint, condition, file) of all that is stored; a missing one that metrics.json names is a ValueError."""
    known = read_json(run.metrics)["conditions"] if run.metrics.exists() else {}
    for checkpoint, name in product(CHECKPOINTS, ALL):
        path = run.trajectories(checkpoint, name)
        if path.exists():
            yield checkpoint, name, path
        elif name in known.get(checkpoint, {}):
            raise ValueError(f"{path} is missing, and metrics.json has numbers of it; restore it")


def _read(path: Path, samples: list[Sample], name: str) -> list[Trajectory]:
    """The trajectories of a file that is whole and about these samples, in their order."""
    samples = [s for s in samples if s.boxes or name != ORACLE]
    try:
        stored = read_trajectories(path)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path.name}: expected a whole file of trajectories ({error}); restore it") from None
    if [t.sample for t in stored] != samples:
        expected = f"expected the {len(samples)} questions of test.jsonl in their order"
        raise ValueError(f"{path.name}: {expected}, found {len(stored)}, others or in another order; restore it")
    return stored


def reread(t: Trajectory, config: Config, name: str) -> Trajectory:
    """A trajectory with draft, verdict, answer, outcome and rewards as its replies give them by today's rules."""
    first, last = parse_reply(t.replies[0]), parse_reply(t.replies[-1])
    outcome = t.outcome
    if outcome in (Outcome.ANSWERED, Outcome.NO_ANSWER):  # the others say that round 2 never came
        outcome = Outcome.NO_ANSWER if last.answer is None else Outcome.ANSWERED
    verdict = last.verdict if len(t.replies) > 1 else None
    again = replace(t, draft=first.draft, verdict=verdict, answer=last.answer, outcome=outcome)
    return scored(answered_directly(again) if name == DIRECT else again, config)


def _changes(file: str, old: dict, new: dict) -> list[str]:
    """A sentence for each of the first values in which two nested dicts differ."""
    changed = [f"{file}: {where} is stored as {a!r}, now {b!r}" for where, a, b in _walk(old, new)]
    return changed[:SHOWN] + [f"{file}: {len(changed) - SHOWN} more values differ"] * (len(changed) > SHOWN)


def _walk(old, new, where: str = "") -> Iterator[tuple]:
    if isinstance(old, dict) or isinstance(new, dict):
        a, b = (value if isinstance(value, dict) else {} for value in (old, new))
        for key in {**a, **b}:
            yield from _walk(a.get(key, "absent"), b.get(key, "absent"), f"{where}/{key}".strip("/"))
    elif as_json(old) != as_json(new):  # as text: nan is nan, and an Outcome its value
        yield where, old, new


def compare(a: Run, b: Run) -> dict[str, dict]:
    """A less B (`paired_difference`) by "checkpoint, condition", on the questions that both have; others are counted.
    ValueError for runs without a common question and condition."""
    rows = {}
    for checkpoint, name in product(CHECKPOINTS, ALL):
        ours, theirs = (_by_question(run.trajectories(checkpoint, name)) for run in (a, b))
        if same := [question for question in ours if question in theirs]:
            pair = [ours[question] for question in same], [theirs[question] for question in same]
            a_right, b_right = (right(each) for each in pair)
            rows[f"{CHECKPOINTS[checkpoint]}, {name}"] = paired_difference(*pair) | {
                "A": float(a_right.mean()), "only A": int((a_right & ~b_right).sum()),
                "B": float(b_right.mean()), "only B": int((b_right & ~a_right).sum()),
                "left out": len(ours) + len(theirs) - 2 * len(same),
            }  # fmt: skip
    if not rows:
        raise ValueError(f"{a.path} and {b.path}: expected common questions and conditions, found none")
    return with_holm(rows)


def _by_question(path: Path) -> dict[tuple, Trajectory]:
    """Stored trajectories by what makes two questions the same: id, words, truth and image."""
    stored = read_trajectories(path) if path.exists() else ()
    return {(t.sample.id, t.sample.question, t.sample.answer, t.sample.image): t for t in stored}


def comparison(a: Run, b: Run) -> str:
    """The lines of `make compare`."""
    ours, theirs = (read_json(run.path / "config.json") for run in (a, b))
    differ = [f"{name}: {x!r} and {y!r}" for name, x, y in _walk(ours, theirs)]
    lines = [f"A = {a.path}, B = {b.path}", "settings that differ: " + ("; ".join(differ) or "none")]
    for name, row in compare(a, b).items():
        said = "not significant" if row["tied"] else "A is better" if row["difference"] > 0 else "B is better"
        lines.append(
            f"{name}: {100 * row['A']:.1f}% and {100 * row['B']:.1f}%, A less B {points(row)} points, "
            f"p = {row['p (Holm)']:.2g} after Holm: {said} (n = {row['n']}, {row['clusters']} images; "
            f"{row['only A']} right in A only, {row['only B']} in B only; {row['left out']} asked in one of them only)"
        )
    return "\n".join(lines)
