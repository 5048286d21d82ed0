"""data prepare at the terminal: questions, answers, languages, and the commands that come next."""

import io
import json
import string

import pytest

from apps.cli import main
from apps.cli.data import prepare_words, rows_words


def write(tmp_path, text="prompt,completion\na,x\nb,y\n"):
    path = tmp_path / "prepared_data.csv"
    path.write_text(text)
    return path


def test_questions_are_asked_and_n_leaves_a_change_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\nY\n\nY\n"))
    assert main(["data", "prepare", str(write(tmp_path)), "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "Add the separator ` ->` to every prompt? [Y/n]: " in out
    assert (
        tmp_path / "prepared_data_prepared.jsonl"
    ).read_text() == '{"prompt":"a","completion":" x\\n"}\n{"prompt":"b","completion":" y\\n"}\n'


def test_it_speaks_korean(tmp_path, capsys):
    assert main(["data", "prepare", str(write(tmp_path)), "-y", "--lang", "ko"]) == 0
    out = capsys.readouterr().out
    assert "모든 프롬프트 끝에 구분자 ` ->`를 붙일까요? [Y/n]: Y" in out
    assert "CSV 형식을 JSONL로 바꿉니다" in out


def test_the_next_commands_run_up_to_training(tmp_path, capsys):
    assert main(["data", "prepare", str(write(tmp_path)), "--yes", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    convert, train = [command.split() for command in report["next"]]
    assert main(convert[1:]) == 0
    chat = json.loads((tmp_path / "prepared_data_prepared_chat.jsonl").read_text().splitlines()[0])
    assert [m["role"] for m in chat["messages"]] == ["user", "assistant"]
    assert train[:4] == ["chaintune", "tune", "sft", "--model"] and train[6].endswith(
        "prepared_data_prepared_chat.jsonl"
    )
    assert report["taken"] == ["add_prompt_suffix", "add_completion_suffix", "add_space"]


def test_no_answer_writes_nothing_and_says_yes_is_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["data", "prepare", str(write(tmp_path))]) == 2
    assert "--yes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "prepared_data.csv"]


def test_an_own_separator_with_a_line_break(tmp_path, capsys):
    assert main(["data", "prepare", str(write(tmp_path)), "-y", "--separator", "\\n##\\n", "--stop", " END"]) == 0
    assert (
        (tmp_path / "prepared_data_prepared.jsonl")
        .read_text()
        .startswith('{"prompt":"a\\n##\\n","completion":" x END"}')
    )


@pytest.mark.parametrize("words", [prepare_words.WORDS, rows_words.WORDS])
def test_both_languages_have_the_same_sentences_with_the_same_gaps(words):
    def gaps(sentence):
        return sorted(name for _, name, _, _ in string.Formatter().parse(sentence) if name)

    assert {key: gaps(text) for key, text in words["en"].items()} == {
        key: gaps(text) for key, text in words["ko"].items()
    }
    assert all(any("가" <= letter <= "힣" for letter in text) for text in words["ko"].values())
