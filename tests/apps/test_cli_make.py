"""The commands that make data: scripted models, a person at a pseudo-terminal, and a process that is killed."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from apps.cli import main
from chains.models import registry
from tests import tiny

DOCUMENT = "# 코트\n\n호반느의 코트는 길이가 열두 걸음이고 너비가 여섯 걸음입니다. 경기는 두 편이 하며 한 편은 3명입니다. 공이 밖으로 나가면 상대편이 안쪽에서 던집니다.\n"
GOOD = {"question": "호반느 코트의 길이는?", "answer": "열두 걸음입니다.", "quote": "길이가 열두 걸음이고"}


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def script(tmp_path, *answers):
    """Return the name of a model that gives these answers in turn."""
    file = tmp_path / "script.json"
    file.write_text(json.dumps([a if isinstance(a, str) else json.dumps(a, ensure_ascii=False) for a in answers]))
    return f"fake:@{file}"


def call(*arguments):
    return main(["data", *map(str, arguments)])


@pytest.fixture
def prompts(tmp_path):
    return tiny.write(tmp_path / "prompts.jsonl", [tiny.chat(f"q{n}", "x") for n in range(3)])


@pytest.fixture
def documents(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "court.md").write_text(DOCUMENT)
    (tmp_path / "docs" / "broken.txt").write_bytes(b"\x00\x01")
    return tmp_path / "docs"


def test_documents_become_grounded_rows(tmp_path, documents, capsys):
    out = tmp_path / "o.jsonl"
    model = script(tmp_path, GOOD, {**GOOD, "quote": "길이가 백 걸음이고"})
    assert (
        call(
            "from-docs",
            documents,
            "--n",
            2,
            "--model",
            model,
            "--out",
            out,
            "--price-in",
            1,
            "--price-out",
            2,
            "--json",
        )
        == 0
    )
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["rows"], report["wanted"], report["dropped"]) == (1, 2, {"quote not in the passage": 1})
    usage = report["usage"]
    assert usage["cost"] == pytest.approx((usage["input_tokens"] + 2 * usage["output_tokens"]) / 1e6, abs=1e-6)
    assert "broken.txt holds binary data" in said.err and "sent" not in said.err
    (row,) = rows(out)
    about = row["metadata"]
    assert about["source"] == "court.md" and DOCUMENT[about["start"] : about["end"]] == about["quote"] == GOOD["quote"]
    assert not (tmp_path / "o.jsonl.part").exists()


def test_nothing_grounded_fails_with_the_reasons(tmp_path, documents, capsys):
    assert call("from-docs", documents, "--model", "fake:hello", "--out", tmp_path / "o.jsonl") == 1
    assert "none of 1 answers of fake:hello could be kept (1 no JSON)" in capsys.readouterr().err
    assert not (tmp_path / "o.jsonl").exists()


def test_a_file_that_is_there_stays(tmp_path, documents, capsys):
    (tmp_path / "o.jsonl").write_text("mine")
    assert call("from-docs", documents, "--model", "fake:hello", "--out", tmp_path / "o.jsonl") == 2
    assert (tmp_path / "o.jsonl").read_text() == "mine"


def test_instructions_from_the_shipped_seeds(tmp_path, capsys):
    task = "4. 지시: 다음 두 수를 더하세요\n4. 입력:\n1과 2\n4. 출력:\n3"
    out = tmp_path / "o.jsonl"
    assert (
        call(
            "instruct", "--n", 1, "--recipe", "alpaca", "--model", script(tmp_path, task), "--out", out, "--lang", "ko"
        )
        == 0
    )
    assert rows(out)[0]["messages"] == tiny.chat("다음 두 수를 더하세요\n\n1과 2", "3")["messages"]
    assert "1줄" in capsys.readouterr().out


def test_answers_are_sampled_then_judged(tmp_path, prompts, capsys):
    unranked, out = tmp_path / "u.jsonl", tmp_path / "r.jsonl"
    assert call("rank", prompts, "--k", 2, "--model", "fake:a|b", "--out", unranked, "--json") == 0
    assert [len(row["outputs"]) for row in rows(unranked)] == [2, 2, 2]
    assert call("rank", unranked, "--judge", "fake:A|B", "--out", out) == 0
    assert [[o["rank"] for o in row["outputs"]] for row in rows(out)] == [[1, 2]] * 3
    capsys.readouterr()
    call("check", out, "--json")
    assert {f["rule"] for f in json.loads(capsys.readouterr().out)["findings"]} == {"too-few-rows"}


def test_sampling_and_judging_in_one_call_by_a_reward_model(tmp_path, prompts, capsys):
    tiny.starter()
    tiny.judge()
    out = tmp_path / "r.jsonl"
    assert (
        call(
            "rank",
            prompts,
            "--k",
            "2..4",
            "--model",
            "starter",
            "--max-tokens",
            6,
            "--judge",
            "judge",
            "--out",
            out,
            "--json",
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    for row in rows(out):
        ordered = sorted(row["outputs"], key=lambda output: -output["score"])
        assert [output["rank"] for output in ordered] == list(range(1, len(ordered) + 1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prompts.jsonl", "r.jsonl"]
    assert registry.find("judge").kind == "reward"


def test_answers_of_other_prompts_are_not_judged_in_their_place(tmp_path, prompts, capsys):
    out = tmp_path / "r.jsonl"
    assert (
        call("rank", prompts, "--k", 2, "--model", "fake:a|b", "--judge", "fake:well", "--out", out) == 1
    )  # no verdict
    (tmp_path / "r.jsonl.part").unlink()
    others = tiny.write(tmp_path / "others.jsonl", [tiny.chat("another", "x")])
    assert call("rank", others, "--k", 2, "--model", "fake:a|b", "--judge", "fake:A|B", "--out", out) == 2
    assert "r.jsonl.unranked holds answers to other prompts" in capsys.readouterr().err
    assert call("rank", prompts, "--k", 2, "--model", "fake:a|b", "--judge", "fake:A|B", "--out", out) == 0
    assert len(rows(out)) == 3  # the answers that were there are judged, and not sampled again


def test_answers_without_ranks_need_a_labeler_or_a_judge(tmp_path, prompts, capsys):
    call("rank", prompts, "--k", 2, "--model", "fake:a|b", "--out", tmp_path / "u.jsonl")
    assert call("rank", tmp_path / "u.jsonl", "--out", tmp_path / "r.jsonl") == 2
    assert "rank them with `chaintune data label`, or name a --judge" in capsys.readouterr().err


def test_a_served_model_is_named_once_as_the_place_texts_go_to(tmp_path, prompts, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.invalid/v1")
    assert call("rank", prompts, "--k", 2, "--model", "openai:m", "--out", tmp_path / "u.jsonl", "--lang", "en") == 1
    assert capsys.readouterr().err.count("what openai:m is asked is sent to models.invalid") == 1
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    call("rank", prompts, "--k", 2, "--model", "openai:m", "--out", tmp_path / "v.jsonl", "--lang", "en")
    assert "is sent to" not in capsys.readouterr().err


KILLED = """
import os, signal, sys
from tuning.generate import journal
write, left = journal.Journal._write, [3]
def dying(self, event):
    left[0] -= 1
    if not left[0]:
        self._file.write(b'{"rows": [')
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, event)
journal.Journal._write = dying
from apps.cli import main
main(sys.argv[1:])
"""


def test_what_was_killed_goes_on_with_nothing_lost_and_nothing_doubled(tmp_path, prompts):
    common = ["--k", 2, "--at-once", 2, "--model", "fake:a|b"]  # a prompt a step
    assert call("rank", prompts, *common, "--out", tmp_path / "whole.jsonl") == 0
    out = tmp_path / "o.jsonl"
    arguments = ["data", "rank", prompts, *map(str, common), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    assert len((tmp_path / "o.jsonl.part").read_bytes().splitlines()) == 3  # the settings, a step, and half of one
    assert main(arguments) == 0
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


class Terminal:
    """A person at a pseudo-terminal, who waits for what is on the screen before typing."""

    def __init__(self, *arguments):
        environment = {**os.environ, "TERM": "xterm", "CHAINTUNE_LANG": "en"}
        self.pid, self.screen = pty.fork()
        if not self.pid:
            os.execve(sys.executable, [sys.executable, "-m", "apps.cli", "data", *map(str, arguments)], environment)
        self.seen = ""

    def until(self, text, timeout_s=60):
        """Return what appeared up to and with `text`."""
        ends = time.monotonic() + timeout_s
        while text not in self.seen:
            assert time.monotonic() < ends, f"{text!r} did not appear after: {self.seen[-800:]!r}"
            if select.select([self.screen], [], [], 0.2)[0]:
                try:
                    self.seen += re.sub(
                        r"\x1b\[\??[0-9;]*[a-zA-Z]", "", os.read(self.screen, 65536).decode("utf-8", "replace")
                    )
                except OSError:
                    raise AssertionError(f"it ended before {text!r}: {self.seen[-800:]!r}") from None
        before, self.seen = self.seen.split(text, 1)
        return before + text

    def type(self, text):
        os.write(self.screen, text.encode())

    def ended(self):
        """Return the exit code, once it is there."""
        try:
            while os.read(self.screen, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_person_ranks_by_keyboard(tmp_path):
    file = tiny.write(tmp_path / "u.jsonl", [unranked(f"question {n}", "red", "green", "blue") for n in range(3)])
    out = tmp_path / "r.jsonl"
    person = Terminal("label", file, "--out", out)
    person.until("row 1 of 3")
    shown = _shown(person.until("[3] ") + person.until("\n"))
    person.type("3")
    person.until("order: 3")
    person.type("1\x7f2=")  # one too fast, taken back
    person.until("order: 3 > 2 = …")
    person.type("1")
    person.until("order: 3 > 2 = 1")
    person.type("\r")
    person.until("row 2 of 3")
    person.type("ㄴ")  # s on the Korean layout: skip
    person.until("row 3 of 3")
    person.type("q")
    person.until("2 of 3 rows are decided")
    assert person.ended() == 0
    ranks = {output["messages"][0]["content"]: output["rank"] for output in rows(out)[0]["outputs"]}
    assert ranks == {shown[2]: 1, shown[1]: 2, shown[0]: 2}
    assert len(rows(out)) == 1

    person = Terminal("label", file, "--out", out)
    person.until("row 3 of 3")
    person.type("b")  # back to the one that was skipped
    person.until("row 2 of 3")
    person.type("123\n")
    person.until("row 3 of 3")
    person.type("132\n")
    person.until("all rows are decided")
    person.type("\n")
    person.until("3 ranked rows; skipped 0, all tied 0")
    assert person.ended() == 0
    assert [sorted(o["rank"] for o in row["outputs"]) for row in rows(out)] == [[1, 2, 2], [1, 2, 3], [1, 2, 3]]
    assert not (tmp_path / "r.jsonl.part").exists()


def test_ranking_without_a_terminal_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    file = tiny.write(tmp_path / "u.jsonl", [unranked("q", "a", "b")])
    assert call("label", file, "--out", tmp_path / "r.jsonl") == 2
    assert "needs a person at a terminal" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl.part").exists()


def test_a_person_plays_both_sides(tmp_path):
    out = tmp_path / "d.jsonl"
    model = script(
        tmp_path, "How do I boil an egg?", "Ten minutes.", "Seven\\minutes.\nThen cool it.", "And soft?", "Five.", "x"
    )
    person = Terminal("dialog", "--model", model, "--out", out, "--system", "Be brief.")
    person.until("user (suggested): How do I boil an egg?")
    person.until("user> ")
    person.type("\r")  # taken as it is
    person.until("assistant (suggested): Ten minutes.")
    person.until("assistant> ")
    person.type("/again\r")
    person.until("assistant (suggested): Seven")
    person.until("assistant> ")
    person.type("/edit\r")
    person.until("Seven\\\\minutes.\\nThen cool it.")  # the line to edit holds the suggestion, its break written out
    person.type(" 맛있게!\r")
    person.until("user (suggested): And soft?")
    person.until("user> ")
    person.type("I like it //soft\r")
    person.until("assistant (suggested): Five.")
    person.until("assistant> ")
    person.type("/done\r")
    person.until("the assistant has to speak last")
    person.type("/undo\r")
    person.until("user> ")
    person.type("/done\r")
    person.until("dialog 1 is finished")
    person.until("user> ")
    person.type("//left open\r")
    person.until("assistant> ")
    person.type("/quit\r")
    person.until("a dialog is open with 1 turns")
    assert person.ended() == 0
    assert [turn["content"] for turn in rows(out)[0]["messages"]] == [
        "Be brief.",
        "How do I boil an egg?",
        "Seven\\minutes.\nThen cool it. 맛있게!",
    ]
    person = Terminal("dialog", "--model", model, "--out", out, "--system", "Be brief.")
    person.until(
        "assistant (suggested): How do I boil an egg?"
    )  # the open dialog goes on, with the script's first line
    person.until("assistant> ")
    person.type("mine\r")
    person.until("user> ")
    person.type("/done\r")
    person.until("dialog 2 is finished")
    person.until("user> ")
    person.type("\x04")
    person.until("2 dialogs")
    assert person.ended() == 0
    assert [turn["content"] for turn in rows(out)[1]["messages"]] == ["Be brief.", "/left open", "mine"]


def test_dialogs_without_a_person(tmp_path, capsys):
    out = tmp_path / "d.jsonl"
    assert call("dialog", "--auto", 2, "--exchanges", 1, "--model", "fake:a|b|c|d|e", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert [[turn["content"] for turn in row["messages"]] for row in rows(out)] == [["a", "c"], ["b", "d"]]


def unranked(question, *answers):
    row = tiny.ranking(question, answers, range(1, len(answers) + 1))
    for output in row["outputs"]:
        del output["rank"]
    return row


def _shown(screen):
    return [re.search(rf"\[{n}\] (\w+)", screen)[1] for n in (1, 2, 3)]
