"""docs/server.md is a promise: its Python runs, its commands are there, and LangChain's own classes work against the server."""

import re
import shutil
from pathlib import Path

import httpx
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from typer.main import get_command

from apps.cli import main
from apps.cli.app import app
from chains import LocalEmbeddings, load_model
from tests import tiny
from tests.apps.server import live

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "server.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
def test_the_pages_python_runs(block, server_home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path / "train.jsonl", [tiny.chat(f"What is {n}?", f"It is {n}.") for n in range(12)])
    with live.serving(jobs=True) as (url, _):
        exec(block.replace("http://localhost:8000", url), {})
    out = capsys.readouterr().out
    known = ("0.9\n", "whsec_\n")  # 0.9: 0.8 + 0.2 x ROUGE-L of 1 common token of 3 and of 1, which is 0.5
    assert out.startswith("The job has successfully completed\n") or out in known


def test_the_page_names_every_flag_and_variable():
    flags = {flag for option in get_command(app).commands["serve"].params for flag in option.opts} - {"--help", "-h"}
    assert len(flags) > 14
    table = PAGE[PAGE.index("## Flags and variables") : PAGE.index("## Where one machine")]
    assert set(re.findall(r"--[a-z][a-z-]+", table)) == flags
    sources = [
        *(ROOT / "apps" / "server").rglob("*.py"),
        *(ROOT / "apps" / "cli" / f"{name}.py" for name in ("serve", "flags")),
    ]
    read = {name for file in sources for name in re.findall(r"CHAINTUNE_[A-Z_]+", file.read_text())}
    ours = {"CHAINTUNE_PYTHON_GRADERS"}  # between the server and its jobs
    other_commands = {"CHAINTUNE_MODEL", "CHAINTUNE_LIBRARY"}
    assert set(re.findall(r"`(CHAINTUNE_[A-Z_]+)`", table)) >= read - ours - other_commands


def test_the_pages_commands_are_there(capsys):
    for line in "\n".join(re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)).splitlines():
        words = [word for word in line.split()[1:3] if not word.startswith("-")]
        main([*words, "--help"])
        shown = capsys.readouterr().out
        own = re.sub(r'"[^"]*"', "", line)  # what is quoted is another command's
        assert all(flag in shown for flag in re.findall(r"--[a-z-]+", own)), line


def test_the_page_of_every_field_needs_nothing_from_elsewhere(url):
    page = httpx.get(f"{url}/docs").text
    linked = re.findall(r"""(?:href|src)=["']([^"']+)|url: '([^']+)""", page)
    named = [one or other for one, other in linked]
    assert len(named) == 4 and all(name.startswith("/") for name in named), named
    for name in named:
        assert httpx.get(url + name).status_code == 200
    assert httpx.get(f"{url}/redoc").status_code == 404  # it would come from elsewhere


@pytest.mark.skipif(shutil.which("chromium") is None, reason="looking at the page needs chromium")
def test_a_browser_without_a_network_shows_every_path(url):
    playwright = pytest.importorskip("playwright.sync_api", reason="looking at the page needs playwright")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/docs")
        page.get_by_text("/v1/chat/completions").first.wait_for(timeout=20000)
        shown = page.inner_text("body").replace("\u200b", "")
        browser.close()
    assert all(path in shown for path in httpx.get(f"{url}/openapi.json").json()["paths"])
    assert asked and all(each.startswith((url, "data:")) for each in asked)


def test_langchains_chat_model_streams_binds_tools_and_answers_under_a_schema(url):
    llm = ChatOpenAI(
        model="starter", base_url=f"{url}/v1", api_key="none", temperature=0, max_tokens=120, max_retries=0
    )
    ask = "What colour is the sky?"
    own = load_model("starter", temperature=0, max_tokens=120).invoke(ask)
    assert llm.invoke(ask).content == own.content
    assert "".join(piece.text for piece in llm.stream(ask)) == own.content
    schema = {"title": "Sky", "type": "object", "properties": {"sky": {"enum": ["blue", "red"]}}, "required": ["sky"],
              "additionalProperties": False}  # fmt: skip
    assert llm.with_structured_output(schema, method="json_schema").invoke(ask)["sky"] in ("blue", "red")

    def paint(ready: bool) -> str:
        """Paint it."""
        return str(ready)

    (call,) = llm.bind_tools([paint], tool_choice="paint").invoke(ask).tool_calls
    assert call["name"] == "paint" and isinstance(call["args"]["ready"], bool)


def test_langchains_embeddings_are_the_packaged_models(url):
    made = OpenAIEmbeddings(
        model="all-MiniLM-L6-v2", base_url=f"{url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    assert made.embed_query("a red bicycle") == pytest.approx(LocalEmbeddings().embed_query("a red bicycle"), abs=1e-6)
