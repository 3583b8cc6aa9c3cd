"""An optional second opinion on answers: a language model behind any OpenAI-compatible endpoint. Off by default.

It never enters a reward or a table of results: it says how far the rules of `scoring` can be trusted.
`JUDGE_URL` (like http://localhost:8000/v1), `JUDGE_MODEL` and, where needed, `JUDGE_KEY` switch it on.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from tqdm.auto import tqdm

from mags_kit.method import rewards, scoring
from mags_kit.records import Outcome, Trajectory, read_jsonl, write_bytes
from mags_kit.evaluation.statistics import wilson
from mags_kit.run import Run

PROMPT = (
    "Question about an image: {question}\nReference answer: {truth}\nGiven answer: {answer}\n"
    "Does the given answer mean the same as the reference answer? Reply with yes or no only."
)


def agreement(run: Run, trajectories: list[Trajectory]) -> dict[str, float] | None:
    """Share of the answers on which judge and rules agree, its 95% Wilson interval, `n`, and how many it left open.

    None where no judge is set. Verdicts lie in `judge.jsonl` of the run and are not asked for again.
    """
    if not os.environ.get("JUDGE_URL"):
        return None
    model, path = os.environ.get("JUDGE_MODEL", ""), run.path / "judge.jsonl"
    if not model:
        raise ValueError("JUDGE_URL is set; expected the name of the model in JUDGE_MODEL, too")
    answered = [t for t in trajectories if t.outcome == Outcome.ANSWERED and t.answer]
    keys = [(model, t.sample.question, t.sample.truth, t.answer) for t in answered]
    if path.exists():
        mend_jsonl(path)
    known = {tuple(row["asked"]): row["verdict"] for row in read_jsonl(path)} if path.exists() else {}
    new = [key for key in dict.fromkeys(keys) if key not in known]
    with ThreadPoolExecutor(8) as workers, open(path, "a", encoding="utf-8") as file:
        for key, verdict in zip(new, tqdm(workers.map(_ask, new), total=len(new), desc="judge"), strict=True):
            known[key] = verdict
            file.write(json.dumps({"asked": key, "verdict": verdict}, ensure_ascii=False) + "\n")
            file.flush()
    pairs = [(known[key] == "yes", rewards.answer(t) == 1) for key, t in zip(keys, answered, strict=True) if known[key]]
    if not pairs:
        raise ValueError(f"the judge {model} said neither yes nor no to any of {len(answered)} answers")
    agreed = sum(judged == ruled for judged, ruled in pairs)
    low, high = wilson(agreed, len(pairs))
    counts = {"n": len(pairs), "open": len(answered) - len(pairs)}
    return {"agreement": agreed / len(pairs), "low": low, "high": high, **counts}


def _ask(key: tuple[str, str, str, str]) -> str:
    """One verdict: `yes`, `no`, or nothing where the reply is neither."""
    model, question, truth, answer = key
    url = os.environ["JUDGE_URL"].rstrip("/") + "/chat/completions"
    message = PROMPT.format(question=question, truth=truth, answer=answer)
    body = {"model": model, "temperature": 0, "messages": [{"role": "user", "content": message}]}
    secret = os.environ.get("JUDGE_KEY")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        reply = requests.post(url, json=body, headers=headers, timeout=(5, 120))
        reply.raise_for_status()
        return scoring.yes_or_no(reply.json()["choices"][0]["message"]["content"])
    except (requests.RequestException, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"the judge at {url} gave no verdict ({error}); unset JUDGE_URL to go on without") from None


def mend_jsonl(path: str | Path) -> None:
    """Cut off a last line without an end, as a process leaves it that is killed while it appends."""
    content = Path(path).read_bytes()
    if content and not content.endswith(b"\n"):
        write_bytes(path, content[: content.rfind(b"\n") + 1])
