"""Files become text, and a file that cannot be read says why in half a sentence."""

import re
import sys
import time
import zlib
from pathlib import Path

import pytest

from retrieval import loaders
from retrieval.loaders import load
from retrieval.parser import Limits
from retrieval.text import Unreadable

HTML = """<html><head><title>Rules</title><script>var secret = 1</script></head><body><nav><a href="/">Home</a></nav>
<article><h1>Ball</h1><p>The ball of this game is round, it weighs two hundred and fifty grams, and there are two of them on the court
at any time of the match, which makes the game fast.</p><h2>Goal</h2><p>The goal of each team stands at the end of the court, and its
posts are one metre and eighty centimetres apart from each other.</p></article></body></html>"""


def put(folder: Path, name: str, raw: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return path


def refusal(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(Unreadable) as error:
        load(path, limits)
    return str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_korean_text_is_read_in_each_encoding(tmp_path, encoding):
    text = "공이 밖으로 나가면 아웃이다.\n둘째 줄."
    assert load(put(tmp_path, "a.txt", text.encode(encoding))).text == text


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"caf\xe9 au lait", "is neither in UTF-8 nor in CP949; save it in UTF-8"),
        (b"\x7fELF\x00\x00\x01", "holds binary data, not text"),
        (b"", "is empty"),
        (b" \n\t\n", "has no text in it"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, raw, reason):
    assert refusal(put(tmp_path, "a.txt", raw)) == reason


def test_text_is_composed_and_has_unix_line_ends(tmp_path):
    decomposed = "\u1112\u1161\u11ab\u1100\u1173\u11af"  # 한글 in the letters that macOS writes
    assert load(put(tmp_path, "a.md", f"{decomposed}\r\nnext\rlast")).text == "한글\nnext\nlast"


def test_a_table_becomes_records_of_column_and_value(tmp_path):
    table = '이름,색,메모\n공,"빨강, 파랑",\n골대,,"두\n줄"\n,,\n'
    document = load(put(tmp_path, "a.csv", table.encode("cp949")))
    assert document.text == "이름: 공\n색: 빨강, 파랑\n\n이름: 골대\n메모: 두 줄"
    assert [document.text[at:].splitlines()[0] for at in document.breaks] == ["이름: 공", "이름: 골대"]


def test_a_row_longer_than_the_header_keeps_its_cells(tmp_path):
    assert load(put(tmp_path, "a.csv", "a;b\n1;2;3\n")).text == "a: 1\nb: 2\ncolumn 3: 3"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("a,b\n", "has no row below its first, which names the columns"),
        ('a,b\n"1,2\n', "is no CSV table: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, raw, reason):
    assert refusal(put(tmp_path, "a.csv", raw)) == reason


def test_html_keeps_the_main_text_with_its_headings(tmp_path):
    document = load(put(tmp_path, "a.html", HTML))
    assert document.markdown
    assert "# Ball" in document.text and "## Goal" in document.text and "fifty grams" in document.text
    assert "secret" not in document.text and "Home" not in document.text


def test_html_without_a_main_text_gives_its_body(tmp_path):
    page = "<html><body><ul><li><a href='x'>공</a></li></ul><script>no()</script><select><option>골</option></select></body></html>"
    text = load(put(tmp_path, "a.htm", page)).text
    assert "공" in text and "no()" not in text


def test_a_pdf_has_pages(tmp_path, pdf):
    document = load(put(tmp_path, "a.pdf", pdf("First page", "", "Third page")))
    assert document.paged and document.text == "First page\n\n\n\nThird page"
    assert [document.text[at : at + 5] for at in document.breaks] == ["First", "\n\nThi", "Third"]


def test_a_pdf_that_cannot_be_read_says_why(tmp_path, pdf):
    whole = pdf("First page")
    assert refusal(put(tmp_path, "a.pdf", "hello")) == "is not a PDF, whatever its name says"
    assert (
        refusal(put(tmp_path, "b.pdf", pdf("x", password="pw")))
        == "is protected by a password; save a copy without one"
    )
    assert (
        refusal(put(tmp_path, "c.pdf", pdf("")))
        == "has no text in it; if it is a scan, run a text recognition (OCR) over it first"
    )
    assert refusal(put(tmp_path, "d.pdf", whole[:60])).startswith("is a damaged PDF: ")


def test_a_file_that_takes_too_much_memory_is_given_up(tmp_path):
    page = put(tmp_path, "a.html", b"<html><body>" + b"<p>text</p>" * 1_000_000 + b"</body></html>")
    said = refusal(page, Limits(memory_bytes=100 * 2**20))
    assert (
        "100 MiB" in said or "not in the memory that one may take" in said
    )  # of the limit itself, or of lxml, which met it


def test_a_file_that_takes_too_long_is_given_up(tmp_path):
    page = b"<html><body><p " + b" ".join(b"a%d=1" % n for n in range(700_000)) + b">text</p></body></html>"
    began = time.monotonic()
    assert refusal(put(tmp_path, "a.html", page), Limits(cpu_s=1)).startswith("needed more than 1 s")
    assert time.monotonic() - began < 10


def test_a_stuck_parser_is_given_up(tmp_path):
    assert refusal(put(tmp_path, "a.html", HTML), Limits(wall_s=0.001)) == "took more than 0.001 s to read"


def test_a_pdf_that_unpacks_to_very_much_is_given_up(tmp_path, pdf):
    packed = zlib.compress(b" " * 100_000_000)
    stream = b"/Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    bomb = re.sub(rb"/Length \d+\s*>>\s*stream\n.*?\nendstream", lambda _: stream, pdf("x"), flags=re.S)
    assert bomb != pdf("x") and len(bomb) < 200_000
    assert refusal(put(tmp_path, "a.pdf", bomb)).startswith("is a damaged PDF: Limit reached")


def test_other_kinds_are_refused_by_name(tmp_path):
    assert (
        refusal(put(tmp_path, "a.hwp", "x"))
        == "is a file of Hangul, which is not read; save it as PDF, Word (.docx), Markdown, CSV or plain text"
    )
    assert refusal(put(tmp_path, "a.exe", "x")).startswith("is of a kind that is not read; the kinds are .md, ")


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "MAX_BYTES", 2**20)
    path = put(tmp_path, "a.txt", "x" * 2**20)
    assert load(path).text
    assert (
        refusal(put(tmp_path, "a.txt", "x" * (2**20 + 2**19))) == "has 2 MiB, more than the 1 that are read; split it"
    )


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system refuses such a name")
def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    path = Path(str(tmp_path) + "/\udcff.txt")
    path.write_text("text")
    assert refusal(path) == "has a name that is not in UTF-8; rename it"
