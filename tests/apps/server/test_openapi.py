"""What the OpenAPI says of every answer is what comes: one of each kind of object is made, and each answer is held against its schema."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jsonschema
import pytest

from apps.server.app import create
from apps.server.settings import Settings
from tests import tiny
from tests.apps.server import live
from tests.apps.server.test_chat import TOOL
from tests.apps.server.test_jobs import ROWS, until

ASK = [{"role": "user", "content": "What colour is the sky?"}]
CHECK = {"type": "string_check", "name": "e", "input": "{{sample.output_text}}", "reference": "e", "operation": "like"}
NO_JSON = {"/v1/files/{file_id}/content", "/metrics"}
NEVER = {("post", "/v1/responses/{response_id}/cancel")}
"""Nothing here is cancelled, so that it never succeeds."""


def operations(document):
    return {(method, path) for path, item in document["paths"].items() for method in item}


def schema_of(document, method, path):
    return document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]


class Checked:
    """Asks the server, holds each answer against what is promised, and remembers which operations have succeeded."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, timeout=240)
        self.document = self.http.get("/openapi.json").json()
        self.seen = set()

    def __call__(self, method, path, **given):
        reply = self.http.request(method, path, **given)
        assert reply.status_code == 200, (method, path, reply.text)
        route = next(
            each for each in sorted(self.document["paths"], key=lambda p: p.count("{")) if self._is(each, method, path)
        )
        self.seen.add((method, route))
        if route in NO_JSON:
            return reply.content
        whole = {**schema_of(self.document, method, route), "components": self.document["components"]}
        jsonschema.Draft202012Validator(whole).validate(reply.json())
        return reply.json()

    def _is(self, route, method, path):
        return method in self.document["paths"][route] and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", route), path)


@pytest.fixture(scope="module")
def hears():
    """A server that takes every event."""

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_answer_has_the_schema_that_is_promised(server_home, hears):
    tiny.judge()
    with live.serving(jobs=True, moderation="starter") as (url, _):
        ask = Checked(url)
        model = {"model": "starter"}
        chat = {**model, "messages": ASK, "max_tokens": 120}
        for more in ({}, {"n": 2, "logprobs": True, "top_logprobs": 1}, {"tools": [TOOL], "tool_choice": "required"}):
            ask("post", "/v1/chat/completions", json={**chat, **more})
        for more in ({}, {"echo": True, "logprobs": 1}, {"max_tokens": 0, "echo": True}):
            ask("post", "/v1/completions", json={**model, "prompt": ["a", "b"], "max_tokens": 2, **more})
        for form in ("float", "base64"):
            ask("post", "/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": ["a"], "encoding_format": form})
        ask("post", "/v1/score", json={"model": "judge", "input": [{"messages": ASK, "answer": "x"}]})
        ask("post", "/v1/moderations", json={"input": "a"})
        tool = {"type": "function", "strict": True, **TOOL["function"]}
        for more in ({}, {"tools": [tool], "tool_choice": "required"}):
            response = ask("post", "/v1/responses", json={**model, "input": "a", "max_output_tokens": 120, **more})[
                "id"
            ]
            ask("get", f"/v1/responses/{response}")
            ask("get", f"/v1/responses/{response}/input_items")
        ask("delete", f"/v1/responses/{response}")
        ask("post", "/v1/fine_tuning/alpha/graders/validate", json={"grader": CHECK})
        ask("post", "/v1/fine_tuning/alpha/graders/run", json={"grader": CHECK, "model_sample": "e"})
        _jobs(ask)
        _files(ask)
        _hooks(ask, hears)
        for path in ("/health", "/ready", "/metrics"):
            ask("get", path)
    assert ask.seen | NEVER == operations(ask.document)


def _upload(ask, body, purpose):
    return ask("post", "/v1/files", files={"file": ("x.jsonl", body)}, data={"purpose": purpose})["id"]


def _jobs(ask):
    from apps.server import keys
    from apps.server.database import Database

    file = _upload(ask, "".join(json.dumps(row) + "\n" for row in ROWS).encode(), "fine-tune")
    job = {
        "model": "starter",
        "training_file": file,
        "metadata": {"a": "b"},
        "hyperparameters": {"n_epochs": 2, "batch_size": 4},
    }
    jobs = "/v1/fine_tuning/jobs"
    made, other = (ask("post", jobs, json=job)["id"] for _ in range(2))
    for change in ("pause", "resume", "cancel"):
        ask("post", f"{jobs}/{other}/{change}")
    until(lambda: ask("get", f"{jobs}/{made}")["finished_at"])
    for path in (jobs, f"{jobs}/{made}/events?limit=100", f"{jobs}/{made}/checkpoints"):
        assert ask("get", path.partition("?")[0], params={"limit": 100})["data"]
    name = ask("get", f"{jobs}/{made}")["fine_tuned_model"]
    permissions = f"/v1/fine_tuning/checkpoints/{name}/permissions"
    given = ask("post", permissions, json={"project_ids": [keys.create(Database(), "x")[0]]})["data"][0]["id"]
    ask("get", permissions)
    ask("delete", f"{permissions}/{given}")
    ask("get", "/v1/models")
    ask("get", f"/v1/models/{name}")
    ask("delete", f"/v1/models/{name}")


def _files(ask):
    line = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/completions",
        "body": {"model": "starter", "prompt": "a", "max_tokens": 1},
    }
    file = _upload(ask, json.dumps(line).encode() + b"\n", "batch")
    ask("get", "/v1/files")
    ask("get", f"/v1/files/{file}")
    ask("get", f"/v1/files/{file}/content")
    batch = ask(
        "post", "/v1/batches", json={"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "24h"}
    )["id"]
    until(lambda: ask("get", f"/v1/batches/{batch}")["status"] == "completed")
    other = ask(
        "post", "/v1/batches", json={"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "24h"}
    )["id"]
    ask("post", f"/v1/batches/{other}/cancel")
    ask("get", "/v1/batches")
    new = {"bytes": 3, "filename": "x.txt", "mime_type": "text/plain", "purpose": "user_data"}
    upload, left = (ask("post", "/v1/uploads", json=new)["id"] for _ in range(2))
    part = ask("post", f"/v1/uploads/{upload}/parts", files={"data": b"abc"})["id"]
    whole = ask("post", f"/v1/uploads/{upload}/complete", json={"part_ids": [part]})["file"]["id"]
    ask("post", f"/v1/uploads/{left}/cancel")
    ask("delete", f"/v1/files/{whole}")


def _hooks(ask, hears):
    hooks = "/v1/webhook_endpoints"
    hook = ask("post", hooks, json={"name": "x", "url": hears, "event_types": ["batch.failed"]})["id"]
    ask("get", hooks)
    ask("get", f"{hooks}/{hook}")
    ask("post", f"{hooks}/{hook}", json={"name": "y"})
    ask("post", f"{hooks}/{hook}/rotate_secret")
    ask("post", f"{hooks}/{hook}/test", json={"event_type": "batch.failed"})
    ask("delete", f"{hooks}/{hook}")


def test_no_answer_is_left_without_a_schema(server_home):
    document = create(Settings(jobs=False)).openapi()
    for method, path in operations(document):
        if path not in NO_JSON:
            name = schema_of(document, method, path)["$ref"].rsplit("/", 1)[1]
            assert document["components"]["schemas"][name]["required"], (method, path)
