"""The claims of the README: their file, the published results, and the README's own numbers say the same."""

import hashlib
import re
from pathlib import Path

import yaml

from mags_kit.records import read_json
from mags_kit.evaluation import claims

ROOT = Path(__file__).parents[1]
PUBLISHED = yaml.safe_load((ROOT / "results" / "claims.yaml").read_text())
CLAIMS, CONTEXT = PUBLISHED["claims"], PUBLISHED["context"]


def unclaimed(text: str, of: list) -> list[str]:
    """The numbers with a decimal in a text, percent or points, that are neither a claim's value nor in its interval."""
    known = {rounded(v) for claim in of for v in (claim["value"], *claim.get("interval", ()))}
    return [number for number in re.findall(r"(?<![\w.])[+−-]?\d+\.\d\b(?!\.)", text) if rounded(number) not in known]


def unsaid(text: str, of: list) -> list[str]:
    """The names of the claims whose value does not stand in a text."""
    said = {rounded(number) for number in re.findall(r"\d+\.\d", text)}
    return [claim["name"] for claim in of if rounded(claim["value"]) not in said]


def rounded(number: float | str) -> str:
    return f"{abs(float(str(number).replace('−', '-'))):.1f}"


def test_the_published_results_give_each_claim_to_its_last_digit():
    folder = ROOT / "results" / "cpu"
    files = {path.stem: read_json(path) for path in folder.glob("*.json")}
    found = {claim["name"]: claims.check(claim, files) for claim in CLAIMS}
    exact = {claim["name"]: ("holds", f"{claim['value']:.1f} here") for claim in CLAIMS}
    assert {name: (said, why.split(",")[0]) for name, (said, why) in found.items()} == exact
    default = (folder / "metrics.json").read_bytes()
    assert hashlib.sha256(default).hexdigest() == PUBLISHED["bytes"]["cpu"]


def test_the_readme_says_what_the_claims_say():
    readme = (ROOT / "README.md").read_text()
    sections = [readme.partition(heading)[2].partition("\n## ")[0] for heading in ("## Run it", "## What came out")]
    text = "".join(sections).replace("`qwen3.5-0.8b`", "").replace("3.11 or 3.12", "").replace("a look costs 0.2", "")
    assert all(sections) and unclaimed(text, CLAIMS) == [] and unsaid(text, CLAIMS) == []


def test_numbers_that_no_claim_has_are_found():
    claim = {"name": "a", "value": 61.3, "interval": [58.1, 64.5]}
    text = "| two rounds | **61.3** (58.1 to 64.5) | +24.1 points; −3.3; 900 questions, arXiv 2605.27960, v1.2.3 |"
    assert unclaimed(text, [claim]) == ["+24.1", "−3.3"] and unsaid(text, [claim]) == []
    assert unsaid("61.4", [claim]) == ["a"]


def test_the_fields_numbers_stand_there_as_context_only():
    named = {row["name"]: row for row in CONTEXT}
    assert named["Qwen2.5-VL-3B, direct answer"]["values"] == {"VSR": 49.5, "TallyQA": 40.8, "GQA": 55.4}
    assert named["GRIT, 20 samples"]["values"] == {"VSR": 72.9, "TallyQA": 47.8, "GQA": 62.8}
    assert {row["judged_by"] for row in CONTEXT} == {"GPT-4o"} and all(row["source"] for row in CONTEXT)
