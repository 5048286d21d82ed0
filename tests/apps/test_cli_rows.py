"""data chat, dedupe, mix, sample, stats and head at the terminal."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

from apps.cli import main
from apps.cli.data.reasons import KO
from tests import tiny


def save(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def call(capsys, *arguments):
    code = main(["data", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_korean_columns_are_recognised_and_turns_make_a_conversation(tmp_path, capsys):
    table, out = tmp_path / "qa.csv", tmp_path / "o.jsonl"
    table.write_text("대화,질문,답변\n1,안녕,네\n2,몇 시,세 시\n1,잘 가,안녕히\n", encoding="utf-8")
    assert call(capsys, "chat", table, "--out", out, "--conversation", "대화", "--system", "짧게", "--lang", "ko") == (
        0,
        f"{out}: 2행\n",
    )
    first, second = [json.loads(line)["messages"] for line in out.read_text(encoding="utf-8").splitlines()]
    assert [m["content"] for m in first] == ["짧게", "안녕", "네", "잘 가", "안녕히"]
    assert [m["content"] for m in second] == ["짧게", "몇 시", "세 시"]


def test_dedupe_mix_sample_stats_and_head(tmp_path, capsys):
    a = save(tmp_path / "a.jsonl", [{"prompt": "p", "completion": str(n // 2)} for n in range(20)])
    b = save(tmp_path / "b.jsonl", [{"prompt": f"b{n}", "completion": "x"} for n in range(20)])
    out = tmp_path / "o.jsonl"
    code, said = call(capsys, "dedupe", a, "--out", out, "--json")
    assert code == 0 and json.loads(said)["rows"] == 10 and json.loads(said)["exact"] == 10
    code, said = call(capsys, "mix", a, b, "--weights", "3,1", "--out", out, "--json")
    assert [source["rows"] for source in json.loads(said)["sources"]] == [20, 7]
    code, said = call(capsys, "sample", a, "--n", "4", "--out", out, "--lang", "ko")
    assert said == f"{out}: 전체 20행 가운데 4행\n"
    code, said = call(capsys, "stats", b, "--json")
    assert json.loads(said)["distinct_prompts"] == 20
    code, said = call(capsys, "stats", a, "--lang", "en")
    assert "20 rows" in said and "10 different rows, 1 different prompts" in said
    code, said = call(capsys, "head", b, "--n", "2", "--json")
    assert [row["prompt"] for row in json.loads(said)] == ["b0", "b1"]


def test_a_korean_user_reads_korean_titles_and_reasons(tmp_path, capsys):
    file = tiny.write(tmp_path / "d.jsonl", [tiny.chat(f"q{n}", "a") for n in range(4)])
    assert main(["data", "stats", file, "--lang", "ko"]) == 0
    assert "키\t행" in (said := capsys.readouterr().out) and "역할\t메시지\t글자" in said
    assert main(["data", "split", file, "--fractions", "0.5,0.5", "--lang", "ko"]) == 0
    assert capsys.readouterr().out.startswith("파일\t행\n")
    command = ["data", "rank", file, "--k", "4", "--model", "fake:x|y|x|x|x|x|x|x|x|x|x|x|x", "--lang", "ko"]
    assert main([*command, "--out", str(tmp_path / "r.jsonl")]) == 0
    assert "서로 다른 답이 둘보다 적음" in capsys.readouterr().out


def test_every_reason_that_a_maker_gives_has_korean_words():
    makers = (Path(__file__).parents[2] / "tuning" / "generate").glob("*.py")
    source = "".join(path.read_text() for path in makers if path.name != "journal.py")
    said = re.findall(r'(?:return|problem =|dropped\[|"dropped":|made\.dropped\[) ?"([a-zA-Z ]+)"', source)
    assert len(set(said)) > 12 and set(said) - {"ko", "en"} <= KO.keys()


def test_where_rows_are_from_is_one_word_of_advice_and_no_warning_a_row(tmp_path, capsys):
    rows = [{**tiny.chat(f"question {n}?", f"answer {n}"), "metadata": {"source": "a.md"}} for n in range(60)]
    assert main(["data", "check", tiny.write(tmp_path / "d.jsonl", rows), "--no-near", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"metadata": 1}


def test_a_terminal_sees_a_bar_and_ctrl_c_leaves_the_folder_as_it_was(tmp_path):
    file = save(tmp_path / "a.jsonl", [{"prompt": f"{n} " * 40, "completion": f"answer {n}"} for n in range(20_000)])
    terminal, end = pty.openpty()
    words = ["data", "dedupe", file, "--out", str(tmp_path / "o.jsonl"), "--near", "0.9"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    work = subprocess.Popen([sys.executable, "-m", "apps.cli", *words], stdout=end, stderr=end, env=environment)
    os.close(end)
    drawn = b""
    while not re.search(rb"a\.jsonl.*[1-9]\d*/\d+", drawn):
        drawn += os.read(terminal, 65536)
    work.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the terminal is gone when the command has ended
        while piece := os.read(terminal, 65536):
            drawn += piece
    assert work.wait() == 1 and b"interrupted" in drawn and b"Traceback" not in drawn
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_mended_copy_has_a_bar_too_and_the_diff_goes_where_the_results_go(tmp_path):
    rows = [{"prompt": f"{n} " * 40, "completion": f"answer\a {n}" if n == 7 else f"answer {n}"} for n in range(3000)]
    file, diff = save(tmp_path / "a.jsonl", rows), tmp_path / "diff"
    terminal, end = pty.openpty()
    words = ["data", "check", file, "--no-near", "--fix", str(tmp_path / "mended.jsonl")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with diff.open("wb") as results:
        work = subprocess.Popen([sys.executable, "-m", "apps.cli", *words], stdout=results, stderr=end, env=environment)
    os.close(end)
    drawn = b""
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            drawn += piece
    assert work.wait() == 0
    assert re.search(rb"mended\.jsonl.*[1-9]\d*/\d+", drawn) and b"@@" not in drawn
    assert "@@ 8 control-character @@" in diff.read_text()
