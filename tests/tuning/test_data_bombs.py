"""Files made to fill memory or to last forever: checking one, and converting it, end in a child process within 10 seconds and 500 MB.

The seconds are the processor's, so that a busy machine does not fail the test; on an idle one they are those of the clock.
"""

import gzip
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SECONDS, MEGABYTES = 10, 500
CODE = """
import json, sys, time
from chains.errors import ChaintuneError
from tuning import formats

def said(work):
    start = time.process_time()
    try:
        words = work()
    except ChaintuneError as error:
        words = str(error)
    seconds.append(time.process_time() - start)
    return words

seconds = []
path, out = sys.argv[1:]
checked = said(lambda: ", ".join(formats.check(path).counts))
converted = said(lambda: str(formats.convert(path, out, "openai-chat").written))
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"checked": checked, "converted": converted, "seconds": max(seconds), "peak_mb": peak / 1024}))
"""
ROW = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def keys(path):
    path.write_bytes(ROW + json.dumps({f"key{n:07d}": 0 for n in range(100_000)}).encode() + b"\n")
    assert 1_400_000 < path.stat().st_size < 1_900_000


def nest(path):
    path.write_bytes(ROW + b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}\n")


def nested_objects(path):
    path.write_bytes(ROW + b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"\n")


def line(path):
    path.write_bytes(ROW + b'{"messages": "' + b"a" * 100_000_000 + b'"}\n' + ROW)


def element(path):
    path.write_bytes(b"[\n" + ROW.strip() + b',\n{"messages": "' + b"a" * 100_000_000 + b'"}\n]')


def paragraph(path):
    path.write_bytes((b"a" * 99 + b"\n") * 1_000_000)


def cell(path):
    path.write_bytes(b"question,answer\na," + b"b" * 100_000_000 + b"\n")


def packed(path):
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(20):
            file.write(b"a" * 100_000_000)


def sheet(path):
    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", b"<sst>" + b"<si><t>a</t></si>" * 10_000_000 + b"</sst>")


def entities(path):
    """Billion laughs: ten entities, each ten of the one before."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("[Content_Types].xml", f'<!DOCTYPE t [<!ENTITY l0 "lol">{laughs}]><Types>&l9;</Types>')


def parquet_text(path):
    """One text of 600 MB in some KB."""
    pq.write_table(pa.table({"text": ["a" * 600_000_000]}), path, compression="zstd", use_dictionary=False)


def parquet_column(path):
    """300 MB of text in some KB, 3 MB a row, beside a column of 2 MB that does not pack."""
    columns = {"noise": [random.Random(n).randbytes(20_000) for n in range(100)], "text": ["a" * 3_000_000] * 100}
    pq.write_table(pa.table(columns), path, compression="zstd", use_dictionary=False)


def parquet_shared(path):
    """One text of 5 MB that 100,000 rows share."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["a" * 5_000_000]))
    pq.write_table(pa.table({"text": shared}), path, compression="zstd")


BOMBS = [
    (keys, "b.jsonl", "too-many-keys", "an object has 100000 keys"),
    (nest, "b.jsonl", "too-deep", "deeper than"),
    (nested_objects, "b.jsonl", "too-deep", "deeper than"),
    (line, "b.jsonl", "too-long-line", "longer than 10 MB"),
    (element, "b.json", "too-long-line", "longer than 10 MB"),
    (paragraph, "b.txt", "too-long-line", "longer than 10 MB"),
    (cell, "b.csv", "longer than 10 MB", "longer than 10 MB"),
    (packed, "b.jsonl.gz", "unpacks to more than 400 times its size", "unpacks to more than"),
    (sheet, "b.xlsx", "save the sheet as CSV", "save the sheet as CSV"),
    (entities, "b.xlsx", "cannot be read as XLSX", "cannot be read as XLSX"),
    (parquet_text, "b.parquet", "the column 'text' unpacks to 572 MB", "unpacks to 572 MB"),
    (parquet_column, "b.parquet", "the column 'text' unpacks to 286 MB", "unpacks to 286 MB"),
    (parquet_shared, "b.parquet", "unpacks to more than 10,000 times its size", "unpacks to more than"),
]


@pytest.mark.parametrize(("make", "name", "checked", "converted"), BOMBS, ids=[bomb[0].__name__ for bomb in BOMBS])
def test_a_bomb_is_named_within_10_seconds_and_500_megabytes(make, name, checked, converted, tmp_path, record_property):
    make(tmp_path / name)
    command = [sys.executable, "-c", CODE, str(tmp_path / name), str(tmp_path / "out.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    found = json.loads(done.stdout)
    record_property("cost", {key: round(found[key], 1) for key in ("seconds", "peak_mb")})
    assert checked in found["checked"] and converted in found["converted"], found
    assert found["seconds"] < SECONDS and found["peak_mb"] < MEGABYTES, found
