"""Two runs, question by question: what differs between them, and how surely."""

from mags_kit.method.measures import right
from mags_kit.records import Trajectory, read_json
from mags_kit.report.conditions import ALL, MOMENTS
from mags_kit.report.rescore import read_results
from mags_kit.report.statistics import compared, with_holm
from mags_kit.runs import Run

SHOWN = 5  # sample ids of each kind


def compare(a: Run, b: Run) -> dict[str, dict]:
    """A less B by "moment, condition" that both have, on the questions that both have: see `statistics.compared`.

    A question is the same where id, words, truth and image are; others are left out and counted. Both runs without a
    common question or condition are a ValueError.
    """
    rows, other = {}, read_results(b)
    for moment, results in read_results(a).items():
        for name, ours in results.items():
            if name not in other.get(moment, {}):
                continue
            same, left_out = same_questions(ours, other[moment][name])
            if not same:
                raise ValueError(f"{a.path} and {b.path}: expected common questions, found none; were they made alike?")
            mine, theirs = map(list, zip(*same, strict=True))
            hits = right(mine), right(theirs)
            ids = [t.sample.id for t in mine]
            rows[f"{MOMENTS[moment]}, {name}"] = compared(mine, theirs) | {
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
    settings = [read_json(run.path / "config.json") for run in (a, b)]
    differ = [name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)]
    lines = [f"A = {a.path}, B = {b.path}"]
    told = [f"{name}: {settings[0].get(name)!r} and {settings[1].get(name)!r}" for name in differ]
    lines.append("settings that differ: " + ("; ".join(told) or "none"))
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


def _place(name: str) -> tuple[int, int]:
    moment, _, condition = name.partition(", ")
    return list(MOMENTS.values()).index(moment), list(ALL).index(condition)
