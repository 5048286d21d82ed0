"""Files made to exhaust a parser: each ends in half a sentence within 10 s of computing and 500 MB, and the other files go in."""

import io
import os
import re
import zipfile
import zlib

import pytest

from retrieval.parser import Limits, read
from tests.retrieval.office_files import docx, paragraph, xlsx, zipped

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE w [<!ENTITY a "'
    + "ha" * 50
    + '">'
    + "".join(f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def changed(raw: bytes, name: str, content: bytes | str) -> bytes:
    """The archive with another content of one part."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    return zipped({**parts, name: content})


def small_sheet() -> bytes:
    return xlsx(A=[["a", "b"], ["c", "d"]])


def far_cell() -> str:
    rows = "".join(f'<row r="{n}"><c r="XFD{n}" t="inlineStr"><is><t>x</t></is></c></row>' for n in range(1, 60_000))
    return SHEET.format(rows)


def pdf_with(pdf, packed: bytes) -> bytes:
    stream = b"/Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    return re.sub(rb"/Length \d+\s*>>\s*stream\n.*?\nendstream", lambda _: stream, pdf("x"), flags=re.S)


BOMBS = {
    "blanks.docx": lambda pdf: docx(b" " * 300_000_000),
    "nested.docx": lambda pdf: docx("<w:p>" * 100_000 + "</w:p>" * 100_000, more=os.urandom(20_000)),
    "many.docx": lambda pdf: docx(paragraph("x") * 1_000_000, more=os.urandom(400_000)),
    "packed.docx": lambda pdf: docx(paragraph("x") * 1_000_000),
    "laughs.docx": lambda pdf: docx(paragraph("&i;"), head=LAUGHS),
    "outside.docx": lambda pdf: docx(
        paragraph("&x;"), head='<?xml version="1.0"?><!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    ),
    "parts.docx": lambda pdf: zipped({**{f"x{n}": "" for n in range(11_000)}, "word/document.xml": "<x/>"}),
    "laughs.xlsx": lambda pdf: changed(small_sheet(), "xl/worksheets/sheet1.xml", LAUGHS + SHEET.format("&i;")),
    "blanks.xlsx": lambda pdf: changed(small_sheet(), "xl/sharedStrings.xml", b" " * 400_000_000),
    "far.xlsx": lambda pdf: changed(small_sheet(), "xl/worksheets/sheet1.xml", far_cell()),
    "laughs.pptx": lambda pdf: zipped({"ppt/presentation.xml": LAUGHS + "<x>&i;</x>", "[Content_Types].xml": "<x/>"}),
    "deep.json": lambda pdf: b"[" * 200_000 + b"]" * 200_000,
    "deep_objects.json": lambda pdf: b'{"a":' * 900 + b"1" + b"}" * 900,
    "wide.json": lambda pdf: b"[" + b"{}," * 12_000_000 + b"{}]",
    "names.json": lambda pdf: (
        b'{"' + b"n" * 200_000 + b'": {' + b",".join(b'"k%d": 1' % n for n in range(5000)) + b"}}"
    ),
    "integer.jsonl": lambda pdf: b'{"n": ' + b"9" * 40_000_000 + b"}",
    "columns.csv": lambda pdf: b"," * 40_000_000 + b"\n" + b"1," * 2_000_000,
    "attributes.html": lambda pdf: b"<p " + b" ".join(b"a%d=1" % n for n in range(1_000_000)) + b">text</p>",
    "nested.html": lambda pdf: b"<div>" * 200_000 + b"text",
    "paragraphs.html": lambda pdf: b"<html><body>" + b"<p>text</p>" * 4_000_000,
    "blanks.pdf": lambda pdf: pdf_with(pdf, zlib.compress(b" " * 1_000_000_000, 1)),
    "operators.pdf": lambda pdf: pdf_with(pdf, zlib.compress(b"q Q " * 6_000_000)),
    "long_line.js": lambda pdf: b"const x = (" * 4_000_000,
    "open_brackets.js": lambda pdf: b"const x = (\n" * 3_000_000,
}
HARMLESS = {
    "integer.jsonl",
    "operators.pdf",
    "nested.html",
    "far.xlsx",
    "long_line.js",
    "open_brackets.js",
    "wide.json",
}
"""These are only large: a text is right, too."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_given_up_within_the_limits(tmp_path, pdf, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name](pdf))
    found = read(path, Limits())
    print(
        f"{name}: {path.stat().st_size / 1e6:.1f} MB, {found.cpu_s:.1f} s, {found.peak_bytes / 1e6:.0f} MB: {found.error}"
    )
    assert found.error or name in HARMLESS
    assert found.cpu_s < 10
    assert found.peak_bytes < 500e6


def test_the_rest_of_a_folder_with_bombs_goes_in(library, docs, pdf):
    for name in ("nested.docx", "laughs.xlsx", "deep.json"):
        (docs / name).write_bytes(BOMBS[name](pdf))
    report = library.sync(docs)
    assert report.added == 3 and len(report.failed) == 3
    assert library.search("the bus to the museum", k=1)[0].metadata["source"] == "sub/bus.txt"
