"""`chaintune serve --engine`: another server answers for the models it has, and what is made here is answered here."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import openai
import pytest

from apps.cli import main
from apps.server import keys
from apps.server.database import Database
from chains import load_model
from chains.models import registry
from tests import tiny
from tests.apps.server import live
from tests.apps.server.conftest import roomy
from tests.apps.server.test_chat import TOOL
from tests.apps.server.test_jobs import ended

ASK = [{"role": "user", "content": "What colour is the sky?"}]
CHAT = {"model": "starter", "messages": ASK, "temperature": 0, "max_tokens": 12}
ROWS = [tiny.chat(f"What is {n}?", f"It is {n}.") for n in range(12)]


@pytest.fixture(scope="module")
def elsewhere(server_home, tmp_path_factory):
    """A server of another home, whose `starter` is another model, and one more model that is only there; and what its starter says."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder))
        roomy(seed=9)
        shutil.copytree(registry.find("starter").source, folder / "more")
        expected = load_model(f"hf:{folder / 'more'}", temperature=0, max_tokens=12).invoke(ASK[0]["content"]).content
    key, port = keys.create(Database(folder / "server.db"), "front")[1], live.free_port()
    child = subprocess.Popen(
        [sys.executable, "-m", "apps.cli", "serve", "--port", str(port), "--model", f"hf:{folder / 'more'}", "--require-key"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "CHAINTUNE_HOME": str(folder)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout.readline().startswith("OpenAI")
    yield f"http://127.0.0.1:{port}", key, f"hf:{folder / 'more'}", expected
    child.terminate()
    child.wait(30)


@pytest.fixture(scope="module")
def front(elsewhere):
    url, key, *_ = elsewhere
    with live.serving(engine=f"{url}/v1", engine_key=key, jobs=True) as (own, app):
        yield own, app


def test_the_engines_models_are_listed_and_answer(front, elsewhere):
    url, app = front
    more, expected = elsewhere[2:]
    client = live.client(url)
    names = [model.id for model in client.models.list()]
    assert more in names and names.count("starter") == 1
    assert client.models.retrieve(more).id == more
    for name in ("starter", more):
        made = client.chat.completions.create(**{**CHAT, "model": name})
        assert (
            made.choices[0].message.content
            == expected
            != load_model("starter", temperature=0, max_tokens=12).invoke(ASK[0]["content"]).content
        )
        assert made.usage.completion_tokens == 12
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected
    assert chunks[-1].usage.completion_tokens == 12 and len(chunks) > 4
    texts = client.completions.create(
        model="starter", prompt="The sky", max_tokens=4, temperature=0, logprobs=1, echo=True
    )
    assert texts.choices[0].text.startswith("The sky") and len(texts.choices[0].logprobs.tokens) > 4
    extra = client.chat.completions.create(**CHAT, extra_body={"ignore_eos": True})  # not OpenAI's field: passed on
    assert extra.choices[0].message.content == expected
    assert app.state.server.warm.names() == []  # nothing was loaded here


def test_responses_are_written_from_the_engines_chat_and_kept_here(front, elsewhere):
    url, app = front
    more, expected = elsewhere[2:]
    client = live.client(url)
    asked = {"input": ASK[0]["content"], "temperature": 0, "max_output_tokens": 12}
    for name in ("starter", more):
        made = client.responses.create(model=name, **asked)
        assert (made.output_text, made.status, made.usage.output_tokens) == (expected, "incomplete", 12)
        assert client.responses.retrieve(made.id).output_text == expected
    events = list(client.responses.create(model="starter", stream=True, previous_response_id=made.id, **asked))
    assert events[0].type == "response.created" and len(events) > 8
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    turns = [ASK[0], {"role": "assistant", "content": expected}, ASK[0]]
    chat = client.chat.completions.create(**{**CHAT, "messages": turns})
    assert told == events[-1].response.output_text == chat.choices[0].message.content
    assert events[-1].response.usage.input_tokens == chat.usage.prompt_tokens
    shown = client.responses.create(model="starter", include=["message.output_text.logprobs"], **asked)
    assert len(shown.output[0].content[0].logprobs) == 12
    tool = {"type": "function", **TOOL["function"], "strict": True}
    called = client.responses.create(
        model="starter", input="Paint.", tools=[tool], tool_choice="required", max_output_tokens=200, temperature=0
    )
    chat = client.chat.completions.create(
        model="starter", messages=[{"role": "user", "content": "Paint."}], tools=[{"type": "function", "function": {**TOOL["function"], "strict": True}}],
        tool_choice="required", max_tokens=200, temperature=0,
    )  # fmt: skip
    calls = [(call.function.name, call.function.arguments) for call in chat.choices[0].message.tool_calls]
    assert [(item.name, item.arguments) for item in called.output if item.type == "function_call"] == calls
    assert app.state.server.warm.names() == []
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="starter", input="word " * 3000, stream=True)


def test_embeddings_of_the_engines_models_are_the_engines(front):
    client = live.client(front[0])
    own = client.embeddings.create(model="all-MiniLM-L6-v2", input=["a red bicycle"])  # of this server
    assert len(own.data[0].embedding) == 384
    with pytest.raises(openai.NotFoundError, match="makes no embeddings here"):
        client.embeddings.create(model="starter", input="x")  # of the engine, in its own words
    vectors = b'{"object": "list", "model": "starter", "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}'
    with canned(200, vectors) as engine, live.serving(engine=engine) as (url, _):
        made = live.client(url).embeddings.create(model="starter", input="x", encoding_format="float")
    assert made.data[0].embedding == [0.6, 0.8]


SPLIT = b"".join(
    b"data: " + json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}).encode() + b"\n\n"
    for choice in (
        {"delta": {"role": "assistant", "content": ""}},
        {"delta": {"reasoning_content": "let me "}},
        {"delta": {"reasoning_content": "see"}},
        {"delta": {"content": "Good."}},
        {"delta": {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}},
        {"delta": {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]}},
    )
)  # fmt: skip
ENDED = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}\n\n'
ENDED += b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}\n\ndata: [DONE]\n\n'


def test_thoughts_and_calls_that_come_in_parts_are_whole_items(server_home):
    with canned(200, SPLIT + ENDED, "text/event-stream") as engine, live.serving(engine=engine) as (url, _):
        made = live.client(url).responses.create(model="starter", input="x")
        thought, message, one, other = made.output
        assert thought.content[0].text == "let me see" and message.content[0].text == "Good."
        assert [(each.call_id, each.name, each.arguments) for each in (one, other)] == [
            ("c1", "f", '{"a": 1}'),
            ("c2", "g", "{}"),
        ]
        assert (made.usage.input_tokens, made.usage.output_tokens) == (3, 4)
    for broken in (SPLIT, SPLIT + b'data: {"error": {"message": "out of memory"}}\n\n'):
        with canned(200, broken, "text/event-stream") as engine, live.serving(engine=engine) as (url, _):
            with pytest.raises(openai.InternalServerError) as caught:
                live.client(url).responses.create(model="starter", input="x")
            assert caught.value.status_code == 502
            events = httpx.post(f"{url}/v1/responses", json={"model": "starter", "input": "x", "stream": True}).text
            assert "Good." in events and '"error"' in events and "response.completed" not in events


def test_the_command_takes_the_engine_and_its_key(server_home, elsewhere):
    url, key, _, expected = elsewhere
    port = live.free_port()
    child = subprocess.Popen(
        [sys.executable, "-m", "apps.cli", "serve", "--port", str(port), "--engine", url], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "CHAINTUNE_HOME": str(server_home), "CHAINTUNE_ENGINE_KEY": key},
    )  # fmt: skip
    try:
        assert child.stdout.readline()
        made = live.client(f"http://127.0.0.1:{port}").chat.completions.create(**CHAT)
        assert made.choices[0].message.content == expected
    finally:
        child.terminate()
        child.wait(30)


def test_load_model_reaches_the_engine_through_the_server(front, elsewhere):
    llm = load_model("openai:starter", base_url=f"{front[0]}/v1", temperature=0, max_tokens=12)
    assert llm.invoke(ASK[0]["content"]).content == elsewhere[3]
    assert "".join(piece.text for piece in llm.stream(ASK[0]["content"])) == elsewhere[3]


def test_a_job_runs_here_and_its_model_answers_here(front):
    url, app = front
    client = live.client(url)
    body = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    file = client.files.create(file=("t.jsonl", body), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="starter", training_file=file.id, hyperparameters={"n_epochs": 1, "batch_size": 4}
    )
    done = ended(client, job)
    assert done.status == "succeeded", done.error
    made = client.chat.completions.create(**{**CHAT, "model": done.fine_tuned_model})
    assert (
        made.choices[0].message.content
        == load_model(done.fine_tuned_model, temperature=0, max_tokens=12).invoke(ASK[0]["content"]).content
    )
    assert app.state.server.warm.names() == [done.fine_tuned_model]


def test_the_engines_refusals_keep_their_status_and_words(front):
    client = live.client(front[0])
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**{**CHAT, "temperature": -1}, stream=stream)
        assert (caught.value.param, caught.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**{**CHAT, "model": "nowhere"})
    for body in (b"", b"{", b"[]", b'{"model": 1}', b"[" * 100000):
        reply = httpx.post(
            f"{front[0]}/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert reply.status_code == 400


def until(met, seconds=20.0):
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_the_engines_row(server_home, stream):
    with live.serving(max_batch=8) as (behind, app), live.serving(engine=f"{behind}/v1") as (url, own):
        live.client(url).chat.completions.create(**CHAT)
        body = {"model": "starter", "messages": ASK, "max_tokens": 900, "ignore_eos": True, "stream": stream, "n": 4}
        gates = [each.state.server.gate for each in (app, own)]
        with (
            contextlib.suppress(httpx.ReadTimeout),
            httpx.Client(timeout=0.5) as short,
            short.stream("POST", f"{url}/v1/chat/completions", json=body) as reply,
        ):
            lines = reply.iter_lines()
            next(lines)
            assert [gate.within for gate in gates] == [4, 1]
        until(lambda: [gate.within for gate in gates] == [0, 0], 5)


ANSWERS = {
    "a wrong key": (401, b'{"error": {"message": "no", "code": "x"}}', openai.InternalServerError, "CHAINTUNE_ENGINE_KEY"),
    "its own fault": (500, b"<html>oops</html>", openai.InternalServerError, "status 500: <html>oops"),
    "busy": (429, b'{"error": {"message": "later", "code": "busy"}}', openai.RateLimitError, "later"),
    "vLLM's older shape": (400, b'{"object": "error", "message": "too long", "code": 400, "param": "x"}', openai.BadRequestError, "too long"),
    "FastAPI's shape": (422, b'{"detail": [{"loc": ["body"], "msg": "bad"}]}', openai.UnprocessableEntityError, "bad"),
    "no JSON": (200, b"hello", openai.InternalServerError, "no JSON object"),
}  # fmt: skip


@contextlib.contextmanager
def canned(status, body, kind="application/json"):
    """Yield the URL of a server that has the model `starter` and gives one answer to every POST."""

    class Canned(BaseHTTPRequestHandler):
        def _send(self, status, body, kind):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self._send(200, b'{"object": "list", "data": [{"id": "starter"}]}', "application/json")

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self._send(status, body, kind)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_engines_failure_is_told_in_openais_shape(server_home, kind):
    status, body, error, said = ANSWERS[kind]
    with canned(status, body) as engine, live.serving(engine=engine) as (url, _):
        for stream in (False,) if status == 200 else (False, True):
            with pytest.raises(error, match=said) as caught:
                live.client(url).chat.completions.create(**CHAT, stream=stream)
        if status == 429:
            assert caught.value.response.headers["retry-after"] == "1"


def test_a_stream_that_breaks_off_ends_with_an_error_and_no_half_event(server_home):
    half = b'data: {"id": "x", "object": "chat.completion.chunk", "choices": []}\r\n\r\ndata: {"id": "y", "ob'
    with canned(200, half, "text/event-stream") as engine, live.serving(engine=engine) as (url, _):
        lines = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}).text
    assert '"x"' in lines and '"y"' not in lines and '"error"' in lines


def test_an_engine_that_is_not_there_is_named(server_home):
    gone = f"http://127.0.0.1:{live.free_port()}/v1"
    with live.serving(engine=gone) as (url, _):
        with pytest.raises(openai.InternalServerError, match="cannot be reached") as caught:
            live.client(url).chat.completions.create(**CHAT)
        assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"] == "1"
        assert "starter" in [model.id for model in live.client(url).models.list()]  # what is here is listed


@pytest.mark.parametrize("given", ["localhost:8001", "ftp://x", "http://", "http://127.0.0.1:8123/v1"])
def test_an_engine_that_cannot_be_one_is_refused_at_the_start(home, given, capsys):
    assert main(["serve", "--engine", given, "--port", "8123"]) == 2
    assert "--engine" in capsys.readouterr().err
