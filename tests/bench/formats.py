"""What is made of every real data file: the format that is found, its rows, what the check says, and whether it comes back from a conversion.

    python -m tests.bench.formats [FOLDER] [--json]       # FOLDER: default ../shared/data

A file of a known format goes to its counterpart and back, any other table or JSON file through another kind of file and back.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from chains.errors import ChaintuneError
from tuning import formats
from tuning.data.check import row_key
from tuning.data.containers import Options, Rows

COUNTERPART = {"openai-chat": "sharegpt", "alpaca": "openai-chat", "sharegpt": "openai-chat", "table": "openai-chat", "hh-rlhf": "openai-preference",
               "trl-prompt-only-text": "openai-reinforcement", "text": "text"}  # fmt: skip
COLUMNS = {
    "glue/SST-2": ("sentence", "label"),
    "korean/nsmc": ("document", "label"),
    "glue/CoLA": ("sentence", "label"),
}
HEADERS = {"glue/CoLA": ("source", "label", "mark", "sentence")}


def row_of(path: Path, name: str, work: Path) -> dict[str, Any]:
    """Return what is found, checked and converted of one file."""
    question, answer = next((c for start, c in COLUMNS.items() if name.startswith(start)), (None, None))
    columns = next((c for start, c in HEADERS.items() if name.startswith(start)), ())
    asked = formats.Asked(question=question, answer=answer, columns=columns)
    start = time.monotonic()
    try:
        report = formats.check(path, asked)
    except ChaintuneError as error:
        return {
            "file": name,
            "format": "refused",
            "rows": 0,
            "findings": str(error).replace(str(path), "it"),
            "back": "",
            "seconds": 0,
        }
    seconds = round(time.monotonic() - start, 1)
    findings = ", ".join(f"{rule} {count}" for rule, count in report.counts.items()) or "none"
    back = there_and_back(path, report.format, (question, answer, columns), work)
    return {
        "file": name,
        "format": report.format,
        "rows": report.rows,
        "findings": findings,
        "back": back,
        "seconds": seconds,
    }


def there_and_back(path: Path, shape: str, named: tuple[Any, Any, Any], work: Path) -> str:
    """Convert the file, and what was made of it back, and say how many rows are what they were."""
    question, answer, columns = named
    to = COUNTERPART.get(shape)
    middle = work / ("middle.json" if to in (None, "text") else "middle.jsonl")
    try:
        done = formats.convert(path, middle, to, question=question, answer=answer, columns=columns)
        formats.convert(middle, work / "back.jsonl", shape if to else None)
    except ChaintuneError as error:
        return f"refused: {str(error).replace(str(path), 'it')}"
    if question is None and (found := equal_rows(path, work / "back.jsonl", columns)) != done.same:
        return f"WRONG: {done.same:,} rows were said to come back, and {found:,} did"
    lost = "" if done.lossless else f"; {'; '.join(done.words())}"
    return f"as {done.shape}: {done.same:,} of {done.rows:,} rows the same{lost}"


def equal_rows(path: Path, back: Path, columns: tuple[str, ...]) -> int:
    """Return how many rows of `path` stand in `back` as they were, counted from the files."""
    left = Counter(row_key(record.row) for record in Rows(path, Options(columns)) if record.row is not None)
    return sum((left & Counter(row_key(row) for _, row in formats.read(back))).values())


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[3] / "shared" / "data")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    files = sorted(p for p in asked.folder.rglob("*") if p.is_file() and "LICENSES" not in p.parts)
    with tempfile.TemporaryDirectory() as work:
        for path in files:
            row = row_of(path, str(path.relative_to(asked.folder)), Path(work))
            print(
                json.dumps(row, ensure_ascii=False) if asked.json else " | ".join(str(value) for value in row.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
