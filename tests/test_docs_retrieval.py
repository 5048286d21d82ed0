"""docs/retrieval.md: its shell lines and its Python run in order, on a few documents, random models and a Chroma server of the test's own."""

import importlib.util
import json
import re
import shlex
from io import StringIO
from pathlib import Path

import pytest

from apps.cli import main
from retrieval import Library
from tests.apps.test_cli_make_local import starter
from tests.retrieval.clip_files import clip_folder, noise
from tests.retrieval.conftest import chroma  # noqa: F401  (a fixture)
from tests.retrieval.test_rerank import encoder

PAGE = (Path(__file__).parent.parent / "docs" / "retrieval.md").read_text(encoding="utf-8")
RULES = "# 시간\n\n쉬는 시간은 칠 분입니다. Half-time lasts seven minutes.\n"


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory, chroma):  # noqa: F811
    """What stands for what the page names and a test has not."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "openai/clip-vit-base-patch32": str(clip_folder(folder / "clip")),
        "cross-encoder/ms-marco-MiniLM-L6-v2": encoder(folder / "encoder"),
        "hf:Qwen/Qwen3-0.6B": "fake:How long is the break?",
        "http://localhost:8000": chroma,
    }


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the page speaks of, and a library in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("docs", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "docs" / "rules.md").write_text(RULES, encoding="utf-8")
    noise(1).save(tmp_path / "photos" / "ball.png")
    row = {"question": "How long is half-time?", "answer": "seven minutes"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row) + "\n")
    starter()
    with Library(tmp_path / "kb") as library:
        library.sync("docs")
    return tmp_path


def test_every_command_of_the_page_runs_in_its_order(place, stand_ins, monkeypatch, capsys):
    asked = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]
    assert len(asked) > 12 and all(name in PAGE for name in stand_ins)
    for line in asked:
        words = [stand_ins.get(word, word) for word in shlex.split(line, comments=True)]
        if "--ray" in words and importlib.util.find_spec("ray") is None:
            continue  # an extra; tests/retrieval/test_ray.py says so
        monkeypatch.setattr("sys.stdin", StringIO("How long is half-time?\n"))
        code = main(words[1:])
        said = capsys.readouterr()
        assert code == 0, (line, said.out[-400:], said.err[-400:])
        if "photos" in line or "red ball" in line:
            assert "ball.png (" in said.out or "1 added" in said.out, (line, said.out)
    if importlib.util.find_spec("ray") is not None:
        import ray

        ray.shutdown()


def test_the_page_shows_no_command_that_does_not_run():
    assert re.findall(r"^    chaintune.*", PAGE, re.MULTILINE) == []


def test_the_pages_python_runs(place):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/retrieval.md", "exec"), {})
