"""Whatever stands in a file, its readers end with rows, findings or one sentence of our own; never with another error.

CHAINTUNE_FUZZ sets how many inputs a format gets: 200 by default, 20,000 for a thorough run; --hypothesis-show-statistics says how many passed.
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.errors import ChaintuneError
from tests.tuning.test_formats_convert import ROWS
from tuning import formats
from tuning.data import tables

EXAMPLES = int(os.environ.get("CHAINTUNE_FUZZ", "200"))
KEYS = sorted(
    {key for row in ROWS.values() for key in row}
    | {"role", "content", "from", "value", "rank", "weight", "tool_calls", "functions", "name"}
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12) | st.sampled_from(
    ["user", "assistant", "tool", "human", "gpt", "function_call", "\n\nHuman: a\n\nAssistant: b", "{}", "[1]"])  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
PIECES = st.binary(max_size=8) | st.sampled_from(
    [b'"', b"\r\n", b"\0", b"[", b"]", b"\xff", b"\xef\xbb\xbf", b"\t", b","])  # fmt: skip
pytestmark = pytest.mark.timeout(max(300, EXAMPLES))  # a thorough run takes up to an hour
LIMITS = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@cache
def rows_of(name):
    """One to three rows of a format with one of their parts, however deep, put in another's place."""

    @st.composite
    def draw_row(draw):
        row = json.loads(json.dumps(ROWS[name]))
        for _ in range(draw(st.integers(0, 2))):
            if found := list(places(row)):
                container, key = found[draw(st.integers(0, len(found) - 1))]
                if draw(st.booleans()):
                    container[key] = draw(VALUES)
                else:
                    del container[key]
        return row

    return st.lists(draw_row(), min_size=1, max_size=3)


def places(value):
    """Yield every part of `value`, however deep, as what holds it and its key or index."""
    parts = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, part in parts:
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


def survive(raw, ending):
    """Recognise, check, repair and convert the file that holds `raw`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"d.{ending}"
        path.write_bytes(raw)
        to = ("chat", "sharegpt", "rankings", "hh", "text", "alpaca", "trl-preference", None)[len(raw) % 8]
        works = [
            lambda: [
                str(f) + f.said("ko") for f in formats.check(path, formats.Asked(near=len(raw) % 16 == 0)).findings
            ],
            lambda: formats.convert(path, path.with_name("o.jsonl" if len(raw) % 3 else "o.csv"), to),
            lambda: formats.read_chat(path),
            lambda: (
                formats.fix(path, path.with_name(f"f.{ending}")) if len(raw) % 5 == 0 else formats.read_prompts(path)
            ),
        ]
        for work in works:
            try:
                work()
            except ChaintuneError as error:
                assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize("name", ROWS)
@LIMITS
@given(data=st.data())
def test_rows_gone_wrong_end_in_findings_or_a_sentence(name, data):
    rows = data.draw(rows_of(name))
    survive(b"".join(json.dumps(row).encode() + b"\n" for row in rows), "jsonl")


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "txt", "xlsx", "parquet", "jsonl.gz"])
@LIMITS
@given(cuts=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 8), PIECES), max_size=4))
def test_bytes_gone_wrong_end_in_findings_or_a_sentence(ending, cuts):
    raw = bytearray(sample(ending))
    for place, size, piece in cuts:
        start = place % (len(raw) + 1)
        raw[start : start + size] = piece
    survive(bytes(raw), ending)


@cache
def sample(ending):
    """Return a small, right file of the kind."""
    rows = [{"question": f"질문 {n}", "answer": f"답, {n}"} for n in range(3)]
    buffer = io.BytesIO()
    match ending:
        case "xlsx":
            book = openpyxl.Workbook()
            for row in ([*rows[0]], *([*row.values()] for row in rows)):
                book.active.append(row)
            book.save(buffer)
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), buffer)
        case "json":
            return json.dumps([ROWS["alpaca"], ROWS["alpaca"]], indent=1).encode()
        case "csv" | "tsv":
            separator = "," if ending == "csv" else "\t"
            return "".join(
                separator.join(f'"{cell}"' for cell in row) + "\n"
                for row in ([*rows[0]], *([*r.values()] for r in rows))
            ).encode()
        case "txt":
            return "한 문단\n둘째 줄\n\n또 한 문단\n".encode()
        case "jsonl.gz":
            import gzip

            return gzip.compress(json.dumps(ROWS["openai-chat"]).encode() * 3)
        case _:
            return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS.values())
    return buffer.getvalue()


def test_a_zip_that_unpacks_to_gigabytes_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/sharedStrings.xml", b"a" * (201 * 2**20))
    with pytest.raises(ChaintuneError, match="unpacks to 201 MB; save the sheet as CSV"):
        formats.check(tmp_path / "b.xlsx")


def test_a_damaged_sheet_ends_in_one_line(tmp_path):
    with zipfile.ZipFile(io.BytesIO(sample("xlsx"))) as good, zipfile.ZipFile(tmp_path / "d.xlsx", "w") as bad:
        for name in good.namelist():
            part = good.read(name)  # below, the day that it was made is none
            bad.writestr(name, re.sub(rb"(W3CDTF\">)[^<]+", rb"\1x", part) if name == "docProps/core.xml" else part)
    with pytest.raises(ChaintuneError, match=r"cannot be read as XLSX \(Unable to read workbook[^\n]*; save it again$"):
        formats.check(tmp_path / "d.xlsx")


def test_a_large_file_with_damaged_columns_is_refused(tmp_path, monkeypatch):
    raw = sample("parquet")
    about = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    monkeypatch.setattr(tables, "MOST_UNPACKED", 1)
    seen = []
    for place in range(about, about + 60):
        (tmp_path / "d.parquet").write_bytes(raw[:place] + b"\0" + raw[place + 1 :])
        try:
            seen.append(len(list(tables.parquet(tmp_path / "d.parquet"))))
        except ChaintuneError as error:
            seen.append(str(error))
    assert any("what it says of its columns is damaged" in str(one) for one in seen)


def test_no_damaged_byte_of_what_a_parquet_file_says_of_itself_ends_the_process(tmp_path):
    """Arrow ends the process where it is asked about a column whose place cannot be read."""
    raw = sample("parquet")
    (tmp_path / "good.parquet").write_bytes(raw)
    code = """
import sys
from pathlib import Path
from chains.errors import ChaintuneError
from tuning import formats
folder = Path(sys.argv[1])
raw = (folder / "good.parquet").read_bytes()
about = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
for place in range(about, about + 120):
    for value in (0, 255):
        (folder / "d.parquet").write_bytes(raw[:place] + bytes([value]) + raw[place + 1 :])
        try:
            formats.check(folder / "d.parquet")
        except ChaintuneError:
            pass
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
