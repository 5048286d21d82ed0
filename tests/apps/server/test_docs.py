"""docs/server.md is a promise: its Python runs, its commands are there, and LangChain's own classes work against the server."""

import re
from pathlib import Path

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
