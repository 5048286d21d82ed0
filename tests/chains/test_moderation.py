"""Moderation: a verdict only where a model gave one."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chains import runs
from chains.errors import MachineError, ModelError, UsageError
from chains.models.fake import FakeChat
from chains.moderation import Moderation


@pytest.fixture
def server():
    """A moderation endpoint that flags what holds 'bad'; it answers 500 to 'broken' and nonsense to 'odd'."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, asked, self.headers["Authorization"]))
            bad = "bad" in asked["input"]
            result = {
                "flagged": bad, "categories": {"hate": bad}, "category_scores": {"hate": 0.9 if bad else 0.1},
                "category_applied_input_types": {},
            }  # fmt: skip
            if asked["input"] == "odd":
                result = {"categories": {}}
            body = json.dumps({"id": "m", "model": asked["model"], "results": [result]}).encode()
            self.send_response(400 if asked["input"] == "broken" else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    seen = []
    web = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}/v1", seen
    web.shutdown()
    web.server_close()


def test_with_no_model_named_nothing_is_said_to_be_fine():
    made = Moderation().invoke("anything")
    assert made == {"text": "anything", "status": "not configured", "flagged": None, "categories": {}}


@pytest.mark.parametrize(
    ("said", "status", "flagged"),
    [
        ("SAFE", "checked", False),
        ("Unsafe.", "checked", True),
        ("It is UNSAFE!", "checked", True),
        ("hm", "unclear", None),
        ("SAFE or UNSAFE", "unclear", None),
    ],
)
def test_a_chat_model_judges(said, status, flagged):
    made = Moderation(FakeChat([said])).invoke("x")
    assert (made["status"], made["flagged"]) == (status, flagged)


def test_the_rules_go_to_the_model_in_the_texts_language():
    llm = FakeChat(["SAFE"])
    Moderation(llm, rules='No {braces} or "tea".').batch(["coffee", "커피"])
    english, korean = (messages[0].text for messages in llm.prompts)
    assert 'No {braces} or "tea".\n-----\ncoffee\n' in english
    assert korean.startswith("선 사이의 글을")


def test_a_model_is_named():
    made = Moderation("fake:UNSAFE").invoke("x")
    assert made["flagged"] is True
    with pytest.raises(UsageError, match="no model 'safe-1'"):
        Moderation("safe-1")


def test_a_local_model_judges(local):
    assert Moderation(local(512)).invoke("hi")["status"] == "checked"  # it can say SAFE or UNSAFE, nothing else


def test_an_endpoint_is_asked_by_its_url(server):
    url, seen = server
    check = Moderation("omni-x", base_url=url, api_key="k")
    good, bad = check.batch(["fine", "bad"])
    assert (good["flagged"], bad["flagged"], bad["categories"]) == (False, True, {"hate": 0.9})
    assert sorted(asked["input"] for _, asked, _ in seen) == ["bad", "fine"]
    assert seen[0][0] == "/v1/moderations" and seen[0][1]["model"] == "omni-x" and seen[0][2] == "Bearer k"
    assert asyncio.run(check.ainvoke("bad"))["flagged"] is True


def test_an_endpoint_that_gives_no_verdict_is_never_a_pass(server):
    url, _ = server
    assert Moderation("m", base_url=url).invoke("odd")["flagged"] is None
    with pytest.raises(ModelError, match="gave no verdict"):
        Moderation("m", base_url=url).invoke("broken")
    with pytest.raises(MachineError, match=r"http://127\.0\.0\.1:9/v1 cannot be reached"):
        Moderation("m", base_url="http://127.0.0.1:9/v1", timeout_s=2).invoke("x")


def test_half_a_configuration_is_refused():
    with pytest.raises(UsageError, match="no model is named"):
        Moderation(rules="No tea.")
    with pytest.raises(UsageError, match="an endpoint takes its model's name"):
        Moderation(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(UsageError, match="text is a int"):
        Moderation().invoke({"text": 3})


def test_a_verdict_is_recorded():
    Moderation(FakeChat(["UNSAFE"])).invoke("x")
    assert runs.recent(1)[0].output == {"status": "checked", "flagged": True, "categories": {}}
