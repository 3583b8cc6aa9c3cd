"""Stored runs scored again without a model, and two of them compared question by question. Nothing is written.

Whether a run's inputs have changed since is the state of its steps: `make status`.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from mags_kit.config import Config, load_config
from mags_kit.evaluation.analysis import findings
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS, ORACLE, VOTE, majority
from mags_kit.evaluation.evaluate import Results, metrics, metrics_alone, scored
from mags_kit.evaluation.statistics import paired_difference, with_holm
from mags_kit.method import rewards
from mags_kit.method.metrics import right
from mags_kit.method.parsing import parse_reply
from mags_kit.records import Outcome, Sample, Trajectory, as_json, read_json, read_samples, read_trajectories
from mags_kit.run import Run, made_before

SHOWN = 12  # differences that are named; the rest is counted
IDS = 5  # sample ids that are named
ELSEWHERE = ("own", "mirror", "model", "adapter", "magnifier")  # settings that may name files of another machine


def stored_run(name: str, root: str | Path = "") -> Run:
    """A run folder as it was left, whatever settings the kit has gained or lost since, and wherever it was made."""
    path = made_before(name, root)
    known = {field.name for field in fields(Config)}
    stored = {key: value for key, value in read_json(path / "config.json").items() if key in known}
    config = load_config("cpu", {key: value for key, value in stored.items() if key not in ELSEWHERE})
    for key in ELSEWHERE:  # these are not read here, so they need not exist
        object.__setattr__(config, key, stored.get(key, getattr(config, key)))
    return Run(path, config)


def report(run: Run) -> tuple[str, int]:
    """The lines of `make rescore`, and its exit status: 0 where all came out as stored, else 1."""
    if found := rescore(run):
        return "\n".join(found), 1
    missing = "" if run.metrics.exists() else "; there is no metrics.json to compare with"
    return f"{run.path}: {len([*_files(run)])} files of trajectories scored again, without a difference{missing}", 0


def rescore(run: Run) -> list[str]:
    """Score the stored trajectories of a run again: a sentence for each difference to what was stored.

    A file that can't be read, or that is not about the run's questions, is a ValueError of one sentence.
    """
    checkpoints, differences = {}, []
    for checkpoint, name, path in _files(run):
        stored = _read(path, read_samples(run.samples("test")), name)
        again = [reread(t, run.config, name) for t in stored]
        differences += _changed_readings(path.name, stored, again)
        if again:
            checkpoints.setdefault(checkpoint, {})[name] = again
    if "alone" in checkpoints:
        measured = metrics_alone(checkpoints["alone"])
    elif "base" in checkpoints:
        measured = metrics(checkpoints["base"], checkpoints.get("trained"))
    else:
        raise ValueError(f"{run.path}: expected trajectories of the test set, found none; run notebook 03 first")
    for path, value in ((run.metrics, measured), (run.findings, findings(checkpoints, run.config))):
        if path.exists() and path.read_text(encoding="utf-8") != as_json(value):
            differences += _changed_values(path.name, read_json(path), value)
    return differences


def read_results(run: Run) -> dict[str, Results]:
    """The stored trajectories of a run by checkpoint and condition, as they are."""
    checkpoints = {}
    for checkpoint, name, path in _files(run):
        if stored := read_trajectories(path):
            checkpoints.setdefault(checkpoint, {})[name] = stored
    return checkpoints


def _files(run: Run) -> Iterator[tuple[str, str, Path]]:
    """(checkpoint, condition, file) of all that is stored; a missing one that metrics.json names is a ValueError."""
    known = read_json(run.metrics)["conditions"] if run.metrics.exists() else {}
    for checkpoint in CHECKPOINTS:
        for name in ALL:
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
    if len(stored) != len(samples):
        raise ValueError(
            f"{path.name}: expected a trajectory for each of {len(samples)} questions, found {len(stored)}; restore it"
        )
    for number, (t, sample) in enumerate(zip(stored, samples, strict=True), 1):
        if t.sample != sample:
            names = [f.name for f in fields(Sample) if getattr(t.sample, f.name) != getattr(sample, f.name)]
            raise ValueError(
                f"{path.name}, line {number}: {', '.join(names)} of {t.sample.id!r} differ from {sample.id!r} in "
                "test.jsonl; the lines or the questions were changed"
            )
    return stored


def reread(t: Trajectory, config: Config, name: str) -> Trajectory:
    """A trajectory with draft, verdict, answer, outcome and rewards as its replies give them by today's rules."""
    if name == VOTE:
        ballots = [_reread(replace(t, replies=(r,), lengths=(n,))) for r, n in zip(t.replies, t.lengths, strict=True)]
        return scored(majority(ballots), config)
    return scored(_reread(t), config)


def _reread(t: Trajectory) -> Trajectory:
    first, last = parse_reply(t.replies[0]), parse_reply(t.replies[-1])
    outcome = t.outcome
    if outcome in (Outcome.ANSWERED, Outcome.NO_ANSWER):  # the others say that round 2 never came
        outcome = Outcome.NO_ANSWER if last.answer is None else Outcome.ANSWERED
    verdict = last.verdict if len(t.replies) == 2 else None
    return replace(t, draft=first.draft, verdict=verdict, answer=last.answer, outcome=outcome)


def _changed_readings(file: str, stored: list[Trajectory], again: list[Trajectory]) -> list[str]:
    """A sentence for each field or reward by which trajectories differ from the stored ones."""
    found, pairs = [], list(zip(stored, again, strict=True))
    read = {name: lambda t, name=name: getattr(t, name) for name in ("draft", "verdict", "answer", "outcome")}
    read |= {f"reward {name!r}": lambda t, name=name: t.rewards.get(name) for name in (*rewards.REWARDS, "total")}
    for what, value in read.items():
        if changed := [(a, b) for a, b in pairs if value(a) != value(b)]:
            a, b = changed[0]
            found.append(
                f"{file}: {what} differs in {len(changed)} of {len(pairs)} (first {a.sample.id}: stored {value(a)!r}, "
                f"now {value(b)!r}); the rule changed, or the file"
            )
    return found


def _changed_values(file: str, old, new) -> list[str]:
    """Sentences on where two JSON values differ; where all values agree, the text does."""
    changed = [f"{file}: {where} is stored as {a!r}, now {b!r}" for where, a, b in _walk(old, new, "")]
    more = [f"{file}: {len(changed) - SHOWN} more values differ"] if len(changed) > SHOWN else []
    return changed[:SHOWN] + more or [f"{file}: same values, other text"]


def _walk(old, new, where: str) -> Iterator[tuple]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _walk(old.get(key, "absent"), new.get(key, "absent"), f"{where}/{key}".strip("/"))
    elif old != new and not (old != old and new != new):  # nan equals nan here
        yield where, old, new


def compare(a: Run, b: Run) -> dict[str, dict]:
    """A less B (`paired_difference`) by "checkpoint, condition" that both have, on the questions that both have.

    A question is the same where id, words, truth and image are; others are left out and counted. ValueError for runs
    without a common question or condition.
    """
    rows, other = {}, read_results(b)
    for checkpoint, results in read_results(a).items():
        for name in (name for name in results if name in other.get(checkpoint, {})):
            ours, theirs = ({_question(t): t for t in each} for each in (results[name], other[checkpoint][name]))
            same = [question for question in ours if question in theirs]
            if not same:
                raise ValueError(f"{a.path} and {b.path}: expected common questions, found none; were they made alike?")
            pair = [ours[question] for question in same], [theirs[question] for question in same]
            hits = [right(each).astype(int) for each in pair]
            gains = [(t.sample.id, gain) for t, gain in zip(pair[0], hits[0] - hits[1], strict=True)]
            rows[f"{CHECKPOINTS[checkpoint]}, {name}"] = paired_difference(*pair) | {
                "A": float(hits[0].mean()), "B": float(hits[1].mean()),
                "only A": [i for i, gain in gains if gain > 0], "only B": [i for i, gain in gains if gain < 0],
                "left out": len(ours) + len(theirs) - 2 * len(same),
            }  # fmt: skip
    if not rows:
        raise ValueError(f"{a.path} and {b.path}: expected a condition that both evaluated, found none")
    return with_holm(rows)


def _question(t: Trajectory) -> tuple[str, ...]:
    return t.sample.id, t.sample.question, t.sample.answer, t.sample.image


def comparison(a: Run, b: Run) -> str:
    """The lines of `make compare`."""
    ours, theirs = (read_json(run.path / "config.json") for run in (a, b))
    pairs = {name: (ours.get(name, "absent"), theirs.get(name, "absent")) for name in ours | theirs}
    differ = [f"{name}: {x!r} and {y!r}" for name, (x, y) in pairs.items() if x != y]
    lines = [f"A = {a.path}, B = {b.path}", "settings that differ: " + ("; ".join(differ) or "none")]
    for name, row in compare(a, b).items():
        said = "not significant" if row["tied"] else "A is better" if row["difference"] > 0 else "B is better"
        difference, low, high = (100 * row[key] for key in ("difference", "low", "high"))
        lines.append(
            f"{name}: {100 * row['A']:.1f}% and {100 * row['B']:.1f}%, A less B {difference:+.1f} points "
            f"({low:+.1f} to {high:+.1f}), p = {row['p (Holm)']:.2g} after Holm: {said} "
            f"(n = {row['n']}, {row['clusters']} images; minimum detectable difference {100 * row['smallest']:.1f})"
            + (f"; {row['left out']} questions are in one of them only" if row["left out"] else "")
        )
        for run in "AB":
            if ids := row[f"only {run}"]:
                more = f" and {len(ids) - IDS} more" if len(ids) > IDS else ""
                lines.append(f"    right in {run} only: {', '.join(ids[:IDS])}{more}")
    return "\n".join(lines)
