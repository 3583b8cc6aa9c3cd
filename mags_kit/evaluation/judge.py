"""An optional check of the scoring rules by a language model behind an OpenAI-compatible endpoint. Off by default.

It enters no reward and no table of results. `JUDGE_URL` (like http://localhost:8000/v1), `JUDGE_MODEL` and, where
needed, `JUDGE_KEY` switch it on.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import requests

from mags_kit.evaluation.statistics import wilson
from mags_kit.method import readings, rewards
from mags_kit.records import Outcome, Trajectory, read_jsonl, write_text
from mags_kit.run import Run

BATCH = 64  # questions after which verdicts are written
PROMPT = (
    "Question about an image: {}\nReference answer: {}\nGiven answer: {}\n"
    "Does the given answer mean the same as the reference answer? Reply with yes or no only."
)


def agreement(run: Run, trajectories: list[Trajectory]) -> dict[str, float] | None:
    """Share of the answers on which judge and rules agree, its 95% Wilson interval, `n`, and how many it left open.

    None where no judge is set. Verdicts are kept in `judge.jsonl` of the run and not asked for again.
    """
    if not os.environ.get("JUDGE_URL"):
        return None
    model, path = os.environ.get("JUDGE_MODEL", ""), run.path / "judge.jsonl"
    if not model:
        raise ValueError("JUDGE_URL is set; expected the name of the model in JUDGE_MODEL, too")
    answered = [t for t in trajectories if t.outcome == Outcome.ANSWERED and t.answer]
    keys = [(model, t.sample.question, t.sample.truth, t.answer) for t in answered]
    known = {tuple(row["asked"]): row["verdict"] for row in read_jsonl(path)} if path.exists() else {}
    new = [key for key in dict.fromkeys(keys) if key not in known]
    with ThreadPoolExecutor(8) as workers:
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            known |= zip(batch, workers.map(_ask, batch), strict=True)
            rows = [json.dumps({"asked": key, "verdict": said}, ensure_ascii=False) for key, said in known.items()]
            write_text(path, "\n".join(rows) + "\n")
    pairs = [(known[key] == "yes", rewards.answer(t) == 1) for key, t in zip(keys, answered, strict=True) if known[key]]
    if not pairs:
        raise ValueError(f"the judge {model} said neither yes nor no to any of {len(answered)} answers")
    agreed = sum(judged == ruled for judged, ruled in pairs)
    low, high = wilson(agreed, len(pairs))
    counts = {"n": len(pairs), "open": len(answered) - len(pairs)}
    return {"agreement": agreed / len(pairs), "low": low, "high": high, **counts}


def _ask(key: tuple[str, str, str, str]) -> str:
    """One verdict on (model, question, truth, answer): `yes`, `no`, or nothing where the reply is neither."""
    url, secret = os.environ["JUDGE_URL"].rstrip("/") + "/chat/completions", os.environ.get("JUDGE_KEY")
    body = {"model": key[0], "temperature": 0, "messages": [{"role": "user", "content": PROMPT.format(*key[1:])}]}
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        reply = requests.post(url, json=body, headers=headers, timeout=(5, 120))
        reply.raise_for_status()
        return readings.yes_or_no(reply.json()["choices"][0]["message"]["content"])
    except (requests.RequestException, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"the judge at {url} gave no verdict ({error}); unset JUDGE_URL to go on without") from None
