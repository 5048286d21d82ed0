"""docs/chains.md: every line of its shell blocks runs, in order, on a few recorded runs and a model of random weights."""

import re
import shlex
from pathlib import Path

from langchain_core.prompts import PromptTemplate

from apps.cli import main
from chains import LLMChain, load_model, runs
from tests.apps.test_cli_make_local import starter

PAGE = (Path(__file__).parent.parent / "docs" / "chains.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_runs_in_its_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    starter()
    for answer in ("blue", "grey"):
        LLMChain(llm=load_model(f"fake:{answer}"), prompt=PromptTemplate.from_template("{q}")).run(answer)
    runs.feedback(runs.recent(1)[0].id, rating=1)
    asked = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]
    assert len(asked) == 6
    for line in asked:
        ids = iter([run.id for run in runs.recent(2)])
        words = [next(ids) if word == "ID" else word for word in shlex.split(line, comments=True)]
        code = main(words[1:])
        said = capsys.readouterr()
        assert code == 0, (line, said.out[-400:], said.err[-400:])
    assert len((tmp_path / "liked.jsonl").read_text().splitlines()) == 1
    assert len((tmp_path / "spans.jsonl").read_text().splitlines()) >= 2


def test_the_page_shows_no_command_that_does_not_run():
    assert re.findall(r"^    chaintune.*", PAGE, re.MULTILINE) == []
