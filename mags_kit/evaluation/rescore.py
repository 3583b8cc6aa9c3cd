"""A stored run scored anew, without a model: its replies read again, its rewards and metrics computed again.

Either all comes out as stored, byte for byte, or a sentence says what differs and by which rule. Nothing is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mags_kit.config import Config, load_config
from mags_kit.method import rewards
from mags_kit.method.parsing import parse_reply
from mags_kit.records import Outcome, Sample, Trajectory, as_json, read_json, read_samples, read_trajectories
from mags_kit.evaluation import evidence
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS, ORACLE, VOTE, majority
from mags_kit.evaluation.evaluate import Results, metrics, metrics_alone, scored
from mags_kit.evaluation.analysis import findings
from mags_kit.run import Run, made_before

SHOWN = 12  # differences that are named; the rest is counted
ELSEWHERE = ("own", "mirror", "model", "adapter", "magnifier")  # settings that may name files of another machine


@dataclass(frozen=True)
class Rescored:
    """A run's results, scored anew, and a sentence for each thing that is not as it was stored."""

    checkpoints: dict[str, Results]
    differences: list[str]


def stored_run(name: str, root: str | Path = "") -> Run:
    """A run folder as it was left, whatever settings the kit has gained or lost since, and wherever it was made."""
    path = made_before(name, root)
    known = {field.name for field in fields(Config)}
    stored = {key: value for key, value in read_json(path / "config.json").items() if key in known}
    config = load_config("cpu", {key: value for key, value in stored.items() if key not in ELSEWHERE})
    for key in ELSEWHERE:  # these are not read here, so they need not exist
        object.__setattr__(config, key, stored.get(key, getattr(config, key)))
    return Run(path, config)


def rescore(run: Run) -> Rescored:
    """Score the stored trajectories of a run again and compare them with what was stored.

    A file that can't be read, or that is not about the run's questions, is a ValueError of one sentence.
    """
    checkpoints, differences = {}, evidence.problems(run)
    for checkpoint, name, path in _files(run):
        stored = _read(path, read_samples(run.samples("test")), name)
        again = [reread(t, run.config, name) for t in stored]
        differences += _by_rule(path.name, stored, again)
        if again:
            checkpoints.setdefault(checkpoint, {})[name] = again
    if not {"before", "alone"} & set(checkpoints):
        raise ValueError(f"{run.path}: expected trajectories of the test set, found none; run notebook 03 first")
    alone = "alone" in checkpoints
    made = {
        run.metrics: metrics_alone(checkpoints["alone"]) if alone else metrics(checkpoints["before"], checkpoints.get("after")),
        run.findings: findings(checkpoints, run.config),
    }
    for path, value in made.items():
        if path.exists() and path.read_text(encoding="utf-8") != as_json(value):
            differences += _changes(path.name, read_json(path), value)
    return Rescored(checkpoints, differences)


def read_results(run: Run) -> dict[str, Results]:
    """The stored trajectories of a run by checkpoint and condition, as they are."""
    checkpoints = {}
    for checkpoint, name, path in _files(run):
        if stored := read_trajectories(path):
            checkpoints.setdefault(checkpoint, {})[name] = stored
    return checkpoints


def _files(run: Run) -> Iterator[tuple[str, str, Path]]:
    """(checkpoint, condition, file) of all that is stored; one that the metrics name and that is gone is a ValueError."""
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
    if name == ORACLE:
        samples = [s for s in samples if s.boxes]
    try:
        stored = read_trajectories(path)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path.name} is no whole file of trajectories ({error}); restore it") from None
    if len(stored) != len(samples):
        raise ValueError(
            f"{path.name}: expected a trajectory for each of {len(samples)} questions, found {len(stored)}; it was cut "
            "short, or belongs to other questions"
        )
    for number, (t, sample) in enumerate(zip(stored, samples, strict=True), 1):
        if t.sample != sample:
            names = [f.name for f in fields(Sample) if getattr(t.sample, f.name) != getattr(sample, f.name)]
            raise ValueError(
                f"{path.name}, line {number}: {', '.join(names)} of {t.sample.id!r} is not that of {sample.id!r} in "
                "test.jsonl; the lines or the questions were changed"
            )
    return stored


def reread(t: Trajectory, config: Config, name: str) -> Trajectory:
    """A trajectory with draft, answer, outcome and rewards as its replies give them by today's rules."""
    if name == VOTE:
        ballots = [_reread(replace(t, replies=(r,), lengths=(n,))) for r, n in zip(t.replies, t.lengths, strict=True)]
        return scored(majority(ballots), config)
    return scored(_reread(t), config)


def _reread(t: Trajectory) -> Trajectory:
    first, last = parse_reply(t.replies[0]), parse_reply(t.replies[-1])
    outcome = t.outcome
    if outcome in (Outcome.ANSWERED, Outcome.NO_ANSWER):  # the others say that round 2 never came
        outcome = Outcome.NO_ANSWER if last.answer is None else Outcome.ANSWERED
    return replace(t, draft=first.draft, answer=last.answer, outcome=outcome)


def _by_rule(name: str, stored: list[Trajectory], again: list[Trajectory]) -> list[str]:
    """A sentence for each rule by which trajectories come out another way than stored."""
    found = []
    pairs = list(zip(stored, again, strict=True))
    for rule, value in {
        "reading of the draft": lambda t: t.draft,
        "reading of the answer": lambda t: t.answer,
        "outcome": lambda t: str(t.outcome),
        **{f"reward {r!r}": lambda t, r=r: t.rewards.get(r) for r in (*rewards.REWARDS, "total")},
    }.items():
        changed = [(a, b) for a, b in pairs if value(a) != value(b)]
        if changed:
            a, b = changed[0]
            found.append(
                f"{name}: the {rule} gives something else for {len(changed)} of {len(pairs)} (the first, "
                f"{a.sample.id}: {value(a)!r} is stored, {value(b)!r} comes out); the rule changed, or the file"
            )
    return found


def _changes(name: str, old, new) -> list[str]:
    """Sentences on where two JSON values differ; where all values agree, the text does."""
    changed = [f"{name}: {where} is {a!r}, comes out as {b!r}" for where, a, b in _walk(old, new, "")]
    more = [f"{name}: {len(changed) - SHOWN} values more"] if len(changed) > SHOWN else []
    return changed[:SHOWN] + more or [f"{name}: same values, other text"]


def _walk(old, new, where: str) -> Iterator[tuple]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _walk(old.get(key, "absent"), new.get(key, "absent"), f"{where}/{key}".strip("/"))
    elif old != new and not (old != old and new != new):  # nan is as it was
        yield where, old, new


def report(run: Run) -> tuple[str, int]:
    """The lines of `make rescore`, and its exit status: 0 where all came out as stored, else 1."""
    found = rescore(run)
    count = sum(len(results) for results in found.checkpoints.values())
    if found.differences:
        return "\n".join(found.differences), 1
    missing = "" if run.metrics.exists() else "; there is no metrics.json to compare with"
    if not run.path.joinpath("evidence.json").exists():
        missing += "; an older kit noted nothing of images and weights, so whether they are the same is not known"
    return f"{run.path}: {count} files of trajectories scored anew; metrics.json is the same, byte for byte{missing}", 0
