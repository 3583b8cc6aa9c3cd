"""The claims of the README: their file, the published results, and the README's own numbers say the same."""

from pathlib import Path

import pytest

from mags_kit.records import read_json
from mags_kit.evaluation import claims

ROOT = Path(__file__).parents[1]
CLAIMS, CONTEXT = claims.read_claims(ROOT / "results" / "claims.yaml")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_published_results_give_each_claim_to_its_last_digit(claim):
    results = {name: ROOT / "results" / f"{name}.json" for name in ("metrics", "findings", "seeds")}
    files = {name: read_json(path) for name, path in results.items() if path.exists()}
    verdict = claims.check(claim, files)
    assert verdict.said == "holds", verdict
    assert f"{claim.value:.1f} measured" in str(verdict)


def test_the_readme_says_what_the_claims_say():
    text = (ROOT / "README.md").read_text().partition("## What came out")[2].partition("\n## ")[0]
    assert text and claims.unclaimed(text, CLAIMS) == [] and claims.unsaid(text, CLAIMS) == []


def test_numbers_that_no_claim_has_are_found():
    claim = claims.Claim("a", "metrics/x", 61.3, 3, 900, "", interval=(58.1, 64.5))
    text = "| two rounds | **61.3** (58.1 to 64.5) | +24.1 points; −3.3; 900 questions, arXiv 2605.27960, v1.2.3 |"
    assert claims.unclaimed(text, [claim]) == ["+24.1", "−3.3"] and claims.unsaid(text, [claim]) == []
    assert claims.unsaid("61.4", [claim]) == ["a"]


def test_the_fields_numbers_stand_there_as_context_only():
    named = {row["name"]: row for row in CONTEXT}
    assert named["Qwen2.5-VL-3B, direct answer"]["values"] == {"VSR": 49.5, "TallyQA": 40.8, "GQA": 55.4}
    assert named["GRIT, 20 samples"]["values"] == {"VSR": 72.9, "TallyQA": 47.8, "GQA": 62.8}
    assert {row["judged_by"] for row in CONTEXT} == {"GPT-4o"} and all(row["source"] for row in CONTEXT)


@pytest.mark.parametrize("row, said", [("{name: a}", "no measures, value"), ("{vlaue: 1}", "no name, measures")])
def test_a_wrong_row_is_one_sentence(tmp_path, row, said):
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims: [{row}]\ncontext: []\n")
    with pytest.raises(ValueError, match=said):
        claims.read_claims(path)
