"""The published numbers (`results/claims.yaml`), and whether a run gives them again: what `make reproduce` ends with.

A claim `measures` a number of a run, named by its keys in `metrics.json`, `findings.json` or `seeds.json`, as
`metrics/conditions/base/…`. Its `value` and `tolerance` are in percent, or points for a difference, over `n` questions;
`interval` is the one measured. It is about runs of its `profile`. Beside the `claims` stand `bytes` (profile -> sha256
of its metrics.json) and published numbers of others as `context`.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

import yaml

from mags_kit import run as runs
from mags_kit.config import PROFILES
from mags_kit.evaluation import rescore
from mags_kit.records import read_json
from mags_kit.run import Run

HOLDS, SHORT, NOT_MEASURED = "holds", "falls short", "not measured"


def check(claim: dict, files: dict[str, dict]) -> tuple[str, str]:
    """HOLDS, SHORT or NOT_MEASURED, and why, for a claim and a run's files by name, as far as there are any."""
    n, value = None, files
    try:
        for key in claim["measures"].split("/"):
            n = value.get("n", n)  # the innermost one counts
            value = value[key]
    except KeyError as error:
        said = f"the run has no {claim['measures']} ({error} is missing)"
        return NOT_MEASURED, f"{said}; `{command(claim['profile'])}` measures it"
    if n not in (None, claim["n"]):
        return NOT_MEASURED, f"measured on {n} questions, the claim is about {claim['n']}"
    measured, claimed, tolerance = 100 * value, claim["value"], claim["tolerance"]
    holds = abs(measured - claimed) <= tolerance
    return HOLDS if holds else SHORT, f"{measured:.1f} here, {claimed:.1f} ± {tolerance:g} published"


@dataclass(frozen=True)
class Comparison:
    """A run beside the published numbers of its profile."""

    sentence: str  # what it comes to
    rows: tuple[tuple[str, str, str], ...] = ()  # of each number its name, the verdict, and why
    elsewhere: str = ""  # which commands measure the other published numbers

    @property
    def line(self) -> str:
        """The sentence with each number, for a terminal."""
        listed = "; ".join(f"{name} {why}: {verdict}" for name, verdict, why in self.rows)
        return f"{self.sentence} ({listed})" if listed else self.sentence


def compare(run: Run) -> Comparison:
    """A run of which `metrics.json` is there, beside the numbers that are published of its profile's own settings."""
    file = runs.PROJECT / "results" / "claims.yaml"
    if not file.exists():  # the kit is installed, and this is no clone of it
        return Comparison(f"Held against no published number: {file} is missing, which comes with a clone of the kit")
    published = yaml.safe_load(file.read_text(encoding="utf-8"))
    profile, stored = read_json(run.manifest)["profile"], read_json(run.path / "config.json")
    own = json.loads(json.dumps(asdict(PROFILES[profile])))
    changed = [f"{name}={stored[name]}" for name in own if name != "seed" and stored.get(name, own[name]) != own[name]]
    others = [claim["profile"] for claim in published["claims"] if claim["profile"] != profile]
    parts = [f"`{command(each)}` measures {others.count(each)}" for each in dict.fromkeys(others)]
    elsewhere = "Of the other published numbers, " + " and ".join(parts) if parts else ""
    if changed:
        said = f"Held against no published number: settings differ from profile {profile} ({', '.join(changed)[:300]})"
        return Comparison(said, elsewhere=elsewhere)
    files = {p.stem: read_json(p) for p in (run.metrics, run.findings, run.path / "seeds.json") if p.exists()}
    claims = [claim for claim in published["claims"] if claim["profile"] == profile]
    rows = tuple((claim["name"], *check(claim, files)) for claim in claims)
    same = _same_bytes(run, published["bytes"].get(profile)) if stored.get("seed") == own["seed"] else ""
    if not rows:
        why = " (its sizes are too small for numbers to mean anything)" if profile == "smoke" else ""
        return Comparison(f"No number of profile {profile} is published{why}{same}", elsewhere=elsewhere)
    verdicts = [verdict for _, verdict, _ in rows]
    partly = "As far as it was measured, it reproduces here" if HOLDS in verdicts else "Nothing published was measured"
    verdict = partly if NOT_MEASURED in verdicts else "It reproduces here"
    verdict = "It does not reproduce here" if SHORT in verdicts else verdict
    found = f"{verdicts.count(HOLDS)} of {len(rows)} numbers that this kit has published of `{command(profile)}` hold"
    return Comparison(f"{verdict}: {found}{same}", rows, elsewhere)


def command(profile: str) -> str:
    """What measures the published numbers of a profile."""
    return "make reproduce" if profile == "cpu" else f"make {profile}"


def _same_bytes(run: Run, sha256: str | None) -> str:
    if not sha256:
        return ""
    if hashlib.sha256(run.metrics.read_bytes()).hexdigest() == sha256:
        return "; metrics.json is the same as ours, to the byte"
    return "; metrics.json is not the same as ours to the byte, as other processors and libraries round otherwise"


def report(run: Run) -> tuple[str, int]:
    """The lines of `make check`, and its exit status: 1 where a number falls short or what is stored is broken."""
    try:
        lines = [f"broken        {line}" for line in rescore.rescore(run)]
    except ValueError as error:
        lines = [f"broken        {error}"]
    if not run.metrics.exists():
        return "\n".join([*lines, f"{run.path}: no metrics.json yet; `make reproduce` goes on from there"]), 1
    found = compare(run)
    status = 1 if lines or SHORT in [verdict for _, verdict, _ in found.rows] else 0
    lines += [f"{verdict:<13} {name}: {why}" for name, verdict, why in found.rows] or [found.sentence]
    return "\n".join([*lines, *([found.elsewhere] if found.elsewhere else [])]), status
