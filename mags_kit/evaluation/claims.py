"""The claims of the README, in one file, and whether a run bears them out: `results/claims.yaml`, `make check`.

A claim names a number of a run: `metrics/…` in its `metrics.json`, `findings/…` in `findings.json`, `seeds/…` in
`seeds.json`, there the mean over all seeds, or `seeds/N/…` for the N-th of them, or `seeds/all seeds/…` (see
`findings.all_seeds`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mags_kit import run as runs
from mags_kit.records import read_json
from mags_kit.evaluation import rescore
from mags_kit.run import Run

HOLDS, SHORT, NOT_MEASURED = "holds", "falls short", "not measured"
NAMES = ("name", "measures", "value", "tolerance", "n", "source")


@dataclass(frozen=True)
class Claim:
    """A claim: `value` and `tolerance` in percent, or points for a difference; `n` questions in each of `seeds`.

    It holds where a run measures the value within the tolerance, on as many questions. `least` says that more is
    fine, too.
    """

    name: str
    measures: str
    value: float
    tolerance: float
    n: int
    source: str
    least: bool = False
    interval: tuple[float, float] | None = None  # as measured, in the same unit


def read_claims(path: Path) -> tuple[list[Claim], list[dict]]:
    """The claims, and the numbers of others that stand beside them as context. A wrong row is a ValueError."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims = []
    for row in rows["claims"]:
        missing = [name for name in NAMES if name not in row]
        if missing or set(row) - {*NAMES, "least", "interval"}:
            wrong = f"no {', '.join(missing)}" if missing else f"unknown {', '.join(set(row) - {*NAMES})}"
            raise ValueError(f"{path}: claim {row.get('name', row)!r} has {wrong}; expected {', '.join(NAMES)}")
        claims.append(Claim(**row | {"interval": tuple(row["interval"]) if "interval" in row else None}))
    return claims, rows["context"]


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    said: str  # HOLDS, SHORT or NOT_MEASURED
    why: str

    def __str__(self) -> str:
        return f"{self.said:<13} {self.claim.name}: {self.why}"


def check(claim: Claim, files: dict[str, Any]) -> Verdict:
    """Hold one claim against the files of a run, `{"metrics": …, "findings": …, "seeds": …}` as far as there are."""
    try:
        found = _found(claim.measures, files)
    except (KeyError, IndexError) as error:
        return Verdict(claim, NOT_MEASURED, f"the run has no {claim.measures} ({error.args[0]!r} is missing)")
    counts = {n for _, n in found if n is not None}
    if counts - {claim.n}:
        return Verdict(claim, NOT_MEASURED, f"measured on {sorted(counts)[0]} questions, the claim is about {claim.n}")
    measured = 100 * float(np.mean([value for value, _ in found]))
    off = measured - claim.value
    said = HOLDS if abs(off) <= claim.tolerance or (claim.least and off > 0) else SHORT
    bound = "at least " if claim.least else ""
    why = f"{measured:.1f} measured, {bound}{claim.value:.1f} ± {claim.tolerance:g} claimed, n = {claim.n}"
    return Verdict(claim, said, why)


def _found(measures: str, files: dict[str, Any]) -> list[tuple[float, int | None]]:
    """(value, n of what it stands in) of what a claim measures: one, or one for each seed."""
    file, *keys = measures.split("/")
    if file == "seeds":
        parts = [part for name, part in files[file].items() if name.startswith("seed ")]
        if keys[0] in files[file]:
            parts, keys = [files[file][keys[0]]], keys[1:]
        elif keys[0].isdigit():
            parts, keys = [parts[int(keys[0])]], keys[1:]
    else:
        parts = [files[file]]
    found = []
    for value in parts:
        n = None
        for key in keys:
            n = value.get("n", n)
            value = value[key]
        found.append((value, n))
    return found


def report(run: Run) -> tuple[str, int]:
    """The lines of `make check`, and its exit status: 0 all holds, 1 something falls short or is broken, 2 something
    was not measured."""
    try:
        broken = [f"broken        {line}" for line in rescore.rescore(run).differences]
    except ValueError as error:
        broken = [f"broken        {error}"]
    made = {name: run.path / f"{name}.json" for name in ("metrics", "findings", "seeds")}
    files = {name: read_json(file) for name, file in made.items() if file.exists()}
    verdicts = [check(claim, files) for claim in read_claims(runs.PROJECT / "results" / "claims.yaml")[0]]
    said = {verdict.said for verdict in verdicts}
    status = 1 if broken or SHORT in said else 2 if NOT_MEASURED in said else 0
    return "\n".join([*broken, *map(str, verdicts)]), status


def unclaimed(text: str, claims: list[Claim]) -> list[str]:
    """The numbers with a decimal in a text, percent or points, that are neither a claim's value nor in its interval."""
    known = {_rounded(v) for claim in claims for v in (claim.value, *(claim.interval or ()))}
    return [number for number in re.findall(r"(?<![\w.])[+−-]?\d+\.\d\b(?!\.)", text) if _rounded(number) not in known]


def unsaid(text: str, claims: list[Claim]) -> list[str]:
    """The names of the claims whose value does not stand in a text."""
    said = {_rounded(number) for number in re.findall(r"\d+\.\d", text)}
    return [claim.name for claim in claims if _rounded(claim.value) not in said]


def _rounded(number: float | str) -> str:
    return f"{abs(float(str(number).replace('−', '-'))):.1f}"
