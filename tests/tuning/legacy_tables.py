"""Random tables for the comparison with openai 0.28: every format it read, with what its checks look for."""

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

WORDS = [
    "tea",
    "run",
    "blue",
    "seven",
    "공",
    "물",
    "나무",
    "sky",
    "open",
    "LONG",
    "Mixed",
    "Case",
    "naïve",
    "好",
    "a/b",
    '"q"',
    "x,y",
    "NA",
    "ends.",
    "done\ttab",
    "back\\slash",
]
FORMATS = ("csv", "tsv", "xlsx", "json", "jsonl", "txt", "json-lines", "json-indented", "jsonl-array")


def make(seed: int, folder: Path) -> tuple[Path, list[str]]:
    """Write table number `seed` into `folder`; return it and the answers to give, `[]` for yes to everything."""
    rng = random.Random(seed)
    kind = FORMATS[seed % len(FORMATS)]
    rows = _rows(rng)
    columns = _columns(rng)
    path = folder / f"table {seed}.{kind.split('-')[0]}"
    _save(path, kind, columns, rows, rng)
    answers = [rng.choice(["", "y", "n", "N", "Y"]) for _ in range(20)] if rng.random() < 0.4 else []
    return path, answers


def _rows(rng: random.Random) -> list[tuple[str, str]]:
    count = rng.choice([1, 2, 3, 5, 12, 40, 130])
    task = rng.choice(["classification", "conditional", "conditional", "open"])
    classes = [_text(rng, 1) for _ in range(rng.choice([2, 3]))]
    before = rng.choice(["", "", "Question: ", "Please answer the following: "])
    after = rng.choice(["", "", " ->", "\n\n###\n\n", "?", "\n\nAnswer in one line:"])
    opening = rng.choice(["", "", "", " ", "Answer: ", " Answer is "])
    ending = rng.choice(["", "", "", "\n", " END", ".", " the very end of it"])
    upper = rng.random() < 0.15
    newlines = rng.random() < 0.3
    rows = []
    for _ in range(count):
        prompt = "" if task == "open" else before + _text(rng, rng.randint(1, 6), newlines) + after
        body = rng.choice(classes) if task == "classification" else _text(rng, rng.randint(1, 8), newlines)
        completion = opening + body + ending
        rows.append((prompt.upper(), completion) if upper else (prompt, completion))
    for place in range(count):
        chance = rng.random()
        if chance < 0.05:
            rows[place] = (rows[place][0], "")
        elif chance < 0.12:
            rows[place] = rows[rng.randrange(count)]
        elif chance < 0.14:
            rows[place] = (rows[place][0], rows[place][1] + "long " * 2100)
    return rows


def _text(rng: random.Random, words: int, newlines: bool = False) -> str:
    parts = [rng.choice(WORDS) for _ in range(words)]
    return ("\n" if newlines and rng.random() < 0.5 else " ").join(parts)


def _columns(rng: random.Random) -> list[str]:
    names = [
        rng.choice(["prompt"] * 6 + ["Prompt", "PROMPT"]),
        rng.choice(["completion"] * 6 + ["Completion", "answer"]),
    ]
    if rng.random() < 0.25:
        names += rng.choice([["id"], ["note", "notebook"], ["prompt_2"]])
    return names


def _save(path: Path, kind: str, columns: list[str], rows: list[tuple[str, str]], rng: random.Random) -> None:
    full = [[*row, *("7" for _ in columns[2:])] for row in rows]
    if kind in ("csv", "tsv"):
        out = io.StringIO(newline="")
        csv.writer(out, delimiter="," if kind == "csv" else "\t").writerows([columns, *full])
        path.write_text(out.getvalue(), encoding=rng.choice(["utf-8", "utf-8-sig"]), newline="")
    elif kind == "xlsx":
        _workbook(path, [columns, *full], rng)
    elif kind == "txt":
        path.write_text("\n".join(completion for _, completion in rows), encoding="utf-8")
    else:
        path.write_text(_json(kind, columns, full, rng), encoding="utf-8")


def _json(kind: str, columns: list[str], rows: list[list[str]], rng: random.Random) -> str:
    items: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in rows]
    for item in items:
        chance = rng.random()
        if chance < 0.03:
            item[columns[1]] = rng.choice([None, 3, 2.5, True, ["a"], {"k": 1}])
        elif chance < 0.05 and len(items) > 1:
            del item[columns[0]]
    escaped = rng.random() < 0.5
    if kind in ("json", "jsonl-array"):
        return json.dumps(items, ensure_ascii=escaped)
    if kind == "json-indented":
        return json.dumps(items, ensure_ascii=escaped, indent=2)
    return "".join(json.dumps(item, ensure_ascii=escaped) + "\n" for item in items)


def _workbook(path: Path, rows: list[list[str]], rng: random.Random) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([cell if cell != "7" else rng.choice([7, 7.5, True]) for cell in row])
    if rng.random() < 0.3:
        book.create_sheet("second").append(["other"])
    book.save(path)
