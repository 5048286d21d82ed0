"""data check --moderation: against a real endpoint on this machine, and by a chat model that is asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apps.cli import main
from tests import tiny

CATEGORIES = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence", "violence/graphic")

ASKED = []
"""What the endpoint was asked, in order."""


class Endpoint(BaseHTTPRequestHandler):
    """POST /v1/moderations as OpenAI's reference gives it: a text with «칼» is violence, the category's name has a slash too."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ASKED.append({"path": self.path, "key": self.headers["authorization"], **body})
        if body["model"] == "omni-moderation-none":
            return self.answer(404, {"error": {"message": "The model does not exist", "type": "invalid_request_error"}})
        self.answer(200, {"id": "modr-1", "model": body["model"], "results": [self.result(t) for t in body["input"]]})

    def result(self, text):
        flags = {name: "칼" in text and name.startswith("violence") for name in CATEGORIES}
        scores = {name: float(flag) for name, flag in flags.items()}
        return {"flagged": any(flags.values()), "categories": flags, "category_scores": scores,
                "category_applied_input_types": {name: ["text"] for name in CATEGORIES}}  # fmt: skip

    def answer(self, status, body):
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    ASKED.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def file(tmp_path):
    rows = [tiny.chat(f"질문 {n}은 무엇인가요?", "칼로 찌른다" if n == 4 else f"답 {n}입니다") for n in range(60)]
    rows[7] = tiny.chat("긴 답은?", "가" * 9000 + " 칼")  # beyond what is shown at once
    return tiny.write(tmp_path / "d.jsonl", rows)


def check(file, name, capsys, status=0):
    assert main(["data", "check", file, "--no-near", "--moderation", name, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def refused(file, name, capsys, status):
    return check(file, name, capsys, status)["error"]["message"]


def test_the_endpoint_s_flags_are_listed_by_row_and_category(file, endpoint, capsys):
    report = check(file, "openai:omni-moderation-latest", capsys)
    flagged = [finding for finding in report["findings"] if finding["rule"] == "flagged"]
    assert [finding["line"] for finding in flagged] == [5, 8]
    assert all("violence, violence/graphic" in finding["problem"] for finding in flagged)
    assert report["moderation"] == "2 of 60 rows flagged by openai:omni-moderation-latest"
    assert {(one["path"], one["model"], one["key"]) for one in ASKED} == {
        ("/v1/moderations", "omni-moderation-latest", "Bearer sk-test")
    }
    assert len(ASKED) == 60 and [len(text) for text in ASKED[7]["input"]] == [8000, 1009]


def test_an_endpoint_that_is_down_ends_in_one_sentence_and_never_in_not_flagged(file, endpoint, capsys):
    endpoint.shutdown()
    endpoint.server_close()
    message = refused(file, "openai:omni-moderation-latest", capsys, status=1)
    assert f"the moderation endpoint at http://127.0.0.1:{endpoint.server_port}/v1/ does not answer" in message
    assert "\n" not in message and "flagged" not in message


def test_a_moderation_model_that_the_endpoint_does_not_have_is_named(file, endpoint, capsys):
    message = refused(file, "openai:omni-moderation-none", capsys, status=1)
    assert "refuses 'omni-moderation-none'" in message and "The model does not exist" in message


def test_no_address_and_no_key_is_said_before_anything_is_read(file, monkeypatch, capsys):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    message = refused(file, "openai:omni-moderation-latest", capsys, status=2)
    assert "needs a server: set OPENAI_BASE_URL, or OPENAI_API_KEY" in message


def test_without_a_name_it_is_not_configured(file, capsys):
    assert main(["data", "check", file, "--no-near", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["moderation"] == "not configured"


def test_a_chat_model_is_asked_for_the_category(tmp_path, capsys):
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(["safe", "Violence.", "SAFE"]))
    file = tiny.write(tmp_path / "d.jsonl", [tiny.chat(f"q{n}", f"answer {n}") for n in range(3)])
    report = check(file, f"fake:@{answers}", capsys, status=1)  # 1: fewer than ten rows
    flagged = [(f["line"], f["problem"]) for f in report["findings"] if f["rule"] == "flagged"]
    assert [line for line, _ in flagged] == [2] and "violence" in flagged[0][1]


def test_a_chat_model_that_names_no_category_is_refused(file, capsys):
    assert "instead of a category or 'safe'" in refused(file, "fake:hello", capsys, status=1)
