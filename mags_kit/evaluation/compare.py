"""Two runs, question by question: what differs between them, and how surely."""

from mags_kit.method.metrics import right
from mags_kit.records import Trajectory, read_json
from mags_kit.evaluation.conditions import ALL, CHECKPOINTS
from mags_kit.evaluation.rescore import read_results
from mags_kit.evaluation.statistics import compared, with_holm
from mags_kit.run import Run

SHOWN = 5  # sample ids of each kind


def compare(a: Run, b: Run) -> dict[str, dict]:
    """A less B by "checkpoint, condition" that both have, on the questions that both have: see `statistics.compared`.

    A question is the same where id, words, truth and image are; others are left out and counted. Both runs without a
    common question or condition are a ValueError.
    """
    rows, other = {}, read_results(b)
    for checkpoint, results in read_results(a).items():
        for name, ours in results.items():
            if name not in other.get(checkpoint, {}):
                continue
            same, left_out = same_questions(ours, other[checkpoint][name])
            if not same:
                raise ValueError(f"{a.path} and {b.path}: expected common questions, found none; were they made alike?")
            mine, theirs = map(list, zip(*same, strict=True))
            hits = right(mine), right(theirs)
            ids = [t.sample.id for t in mine]
            rows[f"{CHECKPOINTS[checkpoint]}, {name}"] = compared(mine, theirs) | {
                "A": float(hits[0].mean()), "B": float(hits[1].mean()), "left out": left_out,
                "only A": [i for i, x, y in zip(ids, *hits, strict=True) if x and not y],
                "only B": [i for i, x, y in zip(ids, *hits, strict=True) if y and not x],
            }  # fmt: skip
    if not rows:
        raise ValueError(f"{a.path} and {b.path}: expected a condition that both measured, found none")
    return with_holm(rows)


def same_questions(a: list[Trajectory], b: list[Trajectory]) -> tuple[list[tuple[Trajectory, Trajectory]], int]:
    """Pairs of trajectories that answer the same question about the same image, and how many have no such partner."""
    known = {_question(t): t for t in b}
    pairs = [(t, known[_question(t)]) for t in a if _question(t) in known]
    return pairs, len(a) + len(b) - 2 * len(pairs)


def _question(t: Trajectory) -> tuple[str, ...]:
    return t.sample.id, t.sample.question, t.sample.answer, t.sample.image


def report(a: Run, b: Run) -> str:
    """The lines of `make compare`."""
    lines = [f"A = {a.path}, B = {b.path}", *_settings(*(read_json(run.path / "config.json") for run in (a, b)))]
    for name, row in sorted(compare(a, b).items(), key=lambda item: _place(item[0])):
        said = "tied" if row["tied"] else "A is better" if row["difference"] > 0 else "B is better"
        a_less_b, low, high = (100 * row[key] for key in ("difference", "low", "high"))
        lines.append(
            f"{name}: {100 * row['A']:.1f}% and {100 * row['B']:.1f}%, A less B {a_less_b:+.1f} points "
            f"({low:+.1f} to {high:+.1f}), p = {row['p (Holm)']:.2g} after Holm: {said} "
            f"(n = {row['n']}, {row['clusters']} images"
            + (f"; {100 * row['smallest']:.1f} points could be found" if row["discordant"] else "")
            + (f"; {row['left out']} questions are in one of them only)" if row["left out"] else ")")
        )
        for key in ("only A", "only B"):
            if row[key]:
                more = f" and {len(row[key]) - SHOWN} more" if len(row[key]) > SHOWN else ""
                lines.append(f"    right in {key[5:]} only: {', '.join(row[key][:SHOWN])}{more}")
    return "\n".join(lines)


def _settings(a: dict, b: dict) -> list[str]:
    """What two runs were set to differently; a setting that one has alone is one that the other's kit did not know."""
    told = [f"{name}: {a[name]!r} and {b[name]!r}" for name in a if name in b and a[name] != b[name]]
    lines = ["settings that differ: " + ("; ".join(told) or "none")]
    for run, known, other in (("A", a, b), ("B", b, a)):
        if names := [f"{name} {other[name]!r}" for name in other if name not in known]:
            older = "" if set(known) - set(other) else "the older run, "
            lines.append(f"not known to {older}{run}: {', '.join(names)}")
    return lines


def _place(name: str) -> tuple[int, int]:
    checkpoint, _, condition = name.partition(", ")
    return list(CHECKPOINTS.values()).index(checkpoint), list(ALL).index(condition)
