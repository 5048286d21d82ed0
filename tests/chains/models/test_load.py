"""A name becomes a model, or one sentence that says which name was meant."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chains import LocalChat, UsageError, load_model
from chains.models import registry


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def publish(name, model, tokenizer, **meta):
    with registry.publish(name, meta) as work:
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)


def test_a_folder_is_loaded_with_the_settings_given(folder):
    llm = load_model(f"hf:{folder}", temperature=0, max_tokens=5)
    assert isinstance(llm, LocalChat)
    answer = llm.invoke("hi")
    assert answer.usage_metadata["output_tokens"] == 5
    assert answer.response_metadata["model_name"] == f"hf:{folder}"


def test_naming_a_model_loads_no_model_library(folder):
    code = (
        "import sys; from chains import LocalEmbeddings, UsageError, load_model; LocalEmbeddings(); "
        f"load_model('hf:{folder}').bind(temperature=0); "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_tuned_model_is_loaded_by_its_name_and_says_it(llama, tokenizer):
    name = "ft:tiny:local:hobanne:abc12345"
    publish(name, llama, tokenizer, kind="chat")
    publish("starter", llama, tokenizer, kind="chat")
    assert load_model(name, max_tokens=2).invoke("hi").response_metadata["model_name"] == name
    assert load_model("starter", max_tokens=2).invoke("hi").text


def test_a_name_that_was_added_is_loaded_from_where_it_points(folder):
    registry.add("mine", str(folder))
    assert load_model("mine").engine is load_model(f"hf:{folder}", temperature=0).engine


def test_a_reward_model_is_refused_for_chat(llama, tokenizer):
    publish("scorer", llama, tokenizer, kind="reward")
    with pytest.raises(UsageError, match=r"'scorer' is a reward model.*load_scorer\('scorer'\)"):
        load_model("scorer")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("starter", "chaintune demo"),
        ("startr", "no model 'startr'; did you mean 'starter'.*chaintune models list"),
        ("min", "no model 'min'; have 'mine'; did you mean 'mine'.*chaintune models list"),
        ("ft:tiny:local:hobane:abc12345", "have.*'mine'.*chaintune models list"),
        ("ft:tiny:hobanne", r"not of the form ft:<base>:<org>:<suffix>:<id>.*chaintune models list"),
        ("ft:Tiny:local:x:1", "not of the form"),
        ("hf:", "names nothing after the colon; expected hf:<folder or hub id>"),
        ("fake:", "names nothing after the colon"),
        ("hf:/no/such/folder", "there is no folder /no/such/folder"),
        ("Qwen/Qwen3-0.6B", "write 'hf:Qwen/Qwen3-0.6B'.*chaintune models list"),
        ("./model", r"write 'hf:\./model'"),
        ("opnai:gpt-5", "no kind 'opnai'; did you mean 'openai'.*chaintune models list"),
        ("", "'' is no model name.*chaintune models list"),
        ("a b", "'a b' is no model name"),
        ("fake:a||b", "empty answer"),
        ("openai:gpt-5", "OPENAI_BASE_URL.*OPENAI_API_KEY"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_sentence(name, said, folder):
    registry.add("mine", str(folder))
    with pytest.raises(UsageError, match=said):
        load_model(name)


@pytest.mark.parametrize("name", ["fake:hello", "openai:gpt-5", "hf:{folder}"])
def test_a_setting_that_the_model_does_not_take_is_refused(name, folder):
    given = {"base_url": "http://localhost:1/v1"} if name.startswith("openai") else {}
    with pytest.raises(UsageError, match=r"no parameter 'temprature'.*did you mean 'temperature'"):
        load_model(name.format(folder=folder), temprature=0, **given)


def test_a_script_is_one_answer_or_several_or_a_file(tmp_path):
    assert load_model("fake:hello").invoke("x").text == "hello"
    llm = load_model("fake:안녕|b: c")
    assert [llm.invoke("x").text for _ in range(3)] == ["안녕", "b: c", "안녕"]
    file = tmp_path / "script.json"
    file.write_text('["a|b", "두 번째"]', encoding="utf-8")
    llm = load_model(f"fake:@{file}")
    assert [llm.invoke("x").text for _ in range(2)] == ["a|b", "두 번째"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"a": 1}', "[1]", '"text"'])
def test_a_file_that_is_no_script_is_refused(text, tmp_path):
    file = tmp_path / "script.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match="script"):
        load_model(f"fake:@{file}")


class Server(BaseHTTPRequestHandler):
    """Answers a chat completion with what it was asked, as an OpenAI-compatible server does."""

    asked: list

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        message = {"role": "assistant", "content": body["messages"][-1]["content"].upper()}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    Server.asked = []
    httpd = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}/v1"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_served_model_is_asked_over_its_base_url_and_needs_no_key(way, server, monkeypatch):
    given = {"base_url": server} if way == "argument" else {}
    if way == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", server)
    llm = load_model("openai:tiny:latest", temperature=0, **given)
    assert llm.invoke("hello").text == "HELLO"
    ((path, _, body),) = Server.asked
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "tiny:latest", 0)


def test_a_served_model_is_given_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    load_model("openai:tiny", base_url=server).invoke("x")
    load_model("openai:tiny", base_url=server, api_key="given").invoke("x")
    assert [key for _, key, _ in Server.asked] == ["Bearer from-environment", "Bearer given"]
