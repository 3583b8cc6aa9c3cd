"""The claims of the README (`results/claims.yaml`), and whether a run supports them: `make check`.

A claim `measures` a number of a run, named by its keys in `metrics.json`, `findings.json` or `seeds.json`, as
`metrics/conditions/base/…`. Its `value` and `tolerance` are in percent, or points for a difference, over `n` questions;
with `least` a higher value holds, too. `interval` is the one measured.
"""

from pathlib import Path

import yaml

from mags_kit import run as runs
from mags_kit.evaluation import rescore
from mags_kit.records import read_json
from mags_kit.run import Run

HOLDS, SHORT, NOT_MEASURED = "holds", "falls short", "not measured"
NAMES = {"name", "measures", "value", "tolerance", "n", "source"}


def read_claims(path: Path) -> tuple[list[dict], list[dict]]:
    """The claims, and published numbers of others that stand beside them. A wrong row is a ValueError."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    for row in rows["claims"]:
        if wrong := NAMES ^ (set(row) - {"least", "interval"}):
            raise ValueError(f"{path}: claim {row.get('name', row)!r} has missing or unknown keys: {', '.join(wrong)}")
    return rows["claims"], rows["context"]


def check(claim: dict, files: dict[str, dict]) -> tuple[str, str]:
    """HOLDS, SHORT or NOT_MEASURED, and why, for a claim and a run's files by name, as far as there are any."""
    n, value = None, files
    try:
        for key in claim["measures"].split("/"):
            n, value = value.get("n", n), value[key]
    except KeyError as error:
        return NOT_MEASURED, f"the run has no {claim['measures']} ({error} is missing)"
    if n not in (None, claim["n"]):
        return NOT_MEASURED, f"measured on {n} questions, the claim is about {claim['n']}"
    measured, claimed, tolerance, least = 100 * value, claim["value"], claim["tolerance"], claim.get("least", False)
    holds = abs(measured - claimed) <= tolerance or (least and measured > claimed)
    bound = f"{'at least ' * least}{claimed:.1f} ± {tolerance:g}"
    return HOLDS if holds else SHORT, f"{measured:.1f} measured, {bound} claimed, n = {claim['n']}"


def report(run: Run) -> tuple[str, int]:
    """The lines of `make check`, and its exit status: 0 all holds, 1 something falls short or is broken, 2 something
    was not measured."""
    try:
        lines = [f"broken        {line}" for line in rescore.rescore(run)]
    except ValueError as error:
        lines = [f"broken        {error}"]
    made = {name: run.path / f"{name}.json" for name in ("metrics", "findings", "seeds")}
    files = {name: read_json(file) for name, file in made.items() if file.exists()}
    said = {SHORT} if lines else set()
    for claim in read_claims(runs.PROJECT / "results" / "claims.yaml")[0]:
        verdict, why = check(claim, files)
        said.add(verdict)
        lines.append(f"{verdict:<13} {claim['name']}: {why}")
    return "\n".join(lines), 1 if SHORT in said else 2 if NOT_MEASURED in said else 0
