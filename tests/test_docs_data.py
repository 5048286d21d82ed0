"""docs/data.md: every line of its shell blocks runs, in order, on a model of random weights."""

import re
import shlex
import shutil
from pathlib import Path

from langchain_core.prompts import PromptTemplate

from apps.cli import main
from apps.cli.data import app
from chains import LLMChain, load_model
from tests.apps.test_cli_make_local import starter

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_runs_in_its_order(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "apps" / "samples", tmp_path / "apps" / "samples")
    monkeypatch.chdir(tmp_path)
    starter()
    for answer in ("blue", "grey"):  # what from-runs finds
        LLMChain(llm=load_model(f"fake:{answer}"), prompt=PromptTemplate.from_template("{q}")).run(answer)
    asked = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line]
    assert len(asked) > 15
    for line in asked:
        words = shlex.split(line)
        if words[0] == "cp":
            shutil.copy(words[1], words[2])
            continue
        code = main(words[1:])
        said = capsys.readouterr()
        checked = words[2] == "check" and code == 1  # a check may find errors in it: they are its result
        assert code == 0 or checked, (line, said.out[-400:], said.err[-400:])


def test_every_command_of_data_is_on_the_page():
    names = [command.name for command in app.registered_commands]
    assert len(names) == 16
    assert [name for name in names if f"data {name}" not in PAGE] == []
