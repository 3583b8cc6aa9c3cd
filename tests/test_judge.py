import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_records import make_trajectory

from mags_kit.evaluation import judge
from mags_kit.run import open_run


@pytest.fixture
def endpoint(monkeypatch):
    """An OpenAI-compatible server that says yes where the given answer holds the reference, and keeps what it got."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.got.append((self.path, self.headers["Authorization"], body))
            if self.server.broken:
                return self.send_error(500)
            lines = body["messages"][0]["content"].splitlines()
            truth, answer = lines[1].split(": ")[1], lines[2].split(": ")[1]
            said = "I can't say." if answer == "hm" else "Yes." if truth in answer else "No"
            reply = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.got, server.broken = [], False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("JUDGE_URL", f"http://127.0.0.1:{server.server_port}/v1/")
    monkeypatch.setenv("JUDGE_MODEL", "some-model")
    monkeypatch.setenv("JUDGE_KEY", "secret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path):
    return open_run("smoke", "r", root=tmp_path)


def trajectories():
    """Truth red: rules and judge agree on `red`, `blue` and `blue` again, not on `red one`; `hm` stays open."""
    sample = replace(make_trajectory().sample, question="What {color}?", answer="red")
    answers = ("red", "red one", "blue", "blue", "hm", None)
    return [make_trajectory(sample=sample, answer=a, outcome="answered" if a else "no_answer") for a in answers]


def test_agreement_by_hand_and_verdicts_are_asked_for_once(run, endpoint):
    found = judge.agreement(run, trajectories())
    assert (found["agreement"], found["n"], found["open"]) == (0.75, 4, 1)
    assert found["low"] == pytest.approx(0.301, abs=1e-3) and found["high"] == pytest.approx(0.954, abs=1e-3)
    path, key, body = endpoint.got[0]
    assert path == "/v1/chat/completions" and key == "Bearer secret" and body["model"] == "some-model"
    assert len(endpoint.got) == 4 and "secret" not in (run.path / "judge.jsonl").read_text()
    assert judge.agreement(run, trajectories()) == found and len(endpoint.got) == 4


def test_it_is_off_by_default(run, monkeypatch):
    monkeypatch.delenv("JUDGE_URL", raising=False)
    assert judge.agreement(run, trajectories()) is None and not (run.path / "judge.jsonl").exists()


def test_a_broken_judge_is_one_sentence_and_leaves_no_half_line(run, endpoint, monkeypatch):
    judge.agreement(run, trajectories()[:2])
    kept = run.path.joinpath("judge.jsonl").read_text()
    endpoint.broken = True
    with pytest.raises(ValueError, match="^the judge at .* gave no verdict .*500.*; unset JUDGE_URL to go on without$"):
        judge.agreement(run, trajectories())
    assert run.path.joinpath("judge.jsonl").read_text() == kept and len(kept.splitlines()) == 2
    monkeypatch.delenv("JUDGE_MODEL")
    with pytest.raises(ValueError, match="expected the name of the model in JUDGE_MODEL"):
        judge.agreement(run, trajectories())
