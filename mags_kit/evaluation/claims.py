"""The claims of the README (`results/claims.yaml`), and whether a run supports them: `make check`.

A claim names a number of a run: `metrics/…` in its `metrics.json`, `findings/…` in `findings.json`, and in `seeds.json`
`seeds/…` for the mean over all seeds, `seeds/N/…` for the N-th of them, or a key of its own (`seeds/all seeds/…`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mags_kit import run as runs
from mags_kit.evaluation import rescore
from mags_kit.records import read_json
from mags_kit.run import Run

HOLDS, SHORT, NOT_MEASURED = "holds", "falls short", "not measured"
NAMES = ("name", "measures", "value", "tolerance", "n", "source")


@dataclass(frozen=True)
class Claim:
    """`value` and `tolerance` in percent, or points for a difference; `n` questions in each of the seeds.

    It holds where a run has the value within the tolerance, on as many questions; with `least` more holds, too.
    """

    name: str
    measures: str
    value: float
    tolerance: float
    n: int
    source: str
    least: bool = False
    interval: list[float] | None = None  # as measured, in the same unit


@dataclass(frozen=True)
class Verdict:
    claim: Claim
    said: str  # HOLDS, SHORT or NOT_MEASURED
    why: str

    def __str__(self) -> str:
        return f"{self.said:<13} {self.claim.name}: {self.why}"


def read_claims(path: Path) -> tuple[list[Claim], list[dict]]:
    """The claims, and published numbers of others that stand beside them. A wrong row is a ValueError."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    for row in rows["claims"]:
        missing, unknown = [name for name in NAMES if name not in row], set(row) - {*NAMES, "least", "interval"}
        if missing or unknown:
            wrong = f"no {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
            raise ValueError(f"{path}: claim {row.get('name', row)!r} has {wrong}; expected {', '.join(NAMES)}")
    return [Claim(**row) for row in rows["claims"]], rows["context"]


def check(claim: Claim, files: dict[str, Any]) -> Verdict:
    """Compare one claim with a run's files, `{"metrics": …, "findings": …, "seeds": …}` as far as there are any."""
    try:
        found = _found(claim.measures, files)
    except (KeyError, IndexError) as error:
        return Verdict(claim, NOT_MEASURED, f"the run has no {claim.measures} ({error.args[0]!r} is missing)")
    if other := {n for _, n in found if n is not None} - {claim.n}:
        return Verdict(claim, NOT_MEASURED, f"measured on {min(other)} questions, the claim is about {claim.n}")
    measured = 100 * float(np.mean([value for value, _ in found]))
    holds = abs(measured - claim.value) <= claim.tolerance or (claim.least and measured > claim.value)
    bound = "at least " if claim.least else ""
    why = f"{measured:.1f} measured, {bound}{claim.value:.1f} ± {claim.tolerance:g} claimed, n = {claim.n}"
    return Verdict(claim, HOLDS if holds else SHORT, why)


def _found(measures: str, files: dict[str, Any]) -> list[tuple[float, int | None]]:
    """(value, n of what it stands in) of what a claim names: one, or one for each seed."""
    file, *keys = measures.split("/")
    parts = [files[file]]
    if file == "seeds" and keys[0] not in files[file]:
        parts = [part for name, part in files[file].items() if name.startswith("seed ")]
        if keys[0].isdigit():
            parts, keys = [parts[int(keys[0])]], keys[1:]
    found = []
    for value in parts:
        n = None
        for key in keys:
            n, value = value.get("n", n), value[key]
        found.append((value, n))
    return found


def report(run: Run) -> tuple[str, int]:
    """The lines of `make check`, and its exit status: 0 all holds, 1 something falls short or is broken, 2 something
    was not measured."""
    try:
        broken = [f"broken        {line}" for line in rescore.rescore(run)]
    except ValueError as error:
        broken = [f"broken        {error}"]
    made = {name: run.path / f"{name}.json" for name in ("metrics", "findings", "seeds")}
    files = {name: read_json(file) for name, file in made.items() if file.exists()}
    verdicts = [check(claim, files) for claim in read_claims(runs.PROJECT / "results" / "claims.yaml")[0]]
    said = {verdict.said for verdict in verdicts}
    status = 1 if broken or SHORT in said else 2 if NOT_MEASURED in said else 0
    return "\n".join([*broken, *map(str, verdicts)]), status
