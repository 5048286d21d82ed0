"""One line of JSON into a row, with what a lenient reader would pass over in silence: keys twice, integers too large, deep nests."""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from tuning.data.findings import Row

MOST_KEYS = 1000
MOST_DEPTH = 64
Problem = tuple[str, str, dict[str, Any]]
"""A rule, the field it is about, and the values of its words."""

_LONG_NUMBER = re.compile(rb"(?<![\w.\"+-])-?\d{16,}(?![\w.\"])")


def parse(raw: bytes) -> tuple[Row | None, list[Problem]]:
    """Return the row in `raw` (None where there is none) and the problems of its JSON."""
    try:
        row = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return None, [_decode_problem(raw, error)]
    if not isinstance(row, dict):
        return None, [("not-object", "", {})]
    keys, problems = _count_keys(row)
    if problems:
        return None, problems
    if raw.count(b'":') + raw.count(b'" :') != keys:  # the text may hold such quotes too: then look closely
        problems += _twice(raw)
    if _LONG_NUMBER.search(raw):
        problems += _large(raw)
    return row, problems


def _decode_problem(raw: bytes, error: orjson.JSONDecodeError) -> Problem:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "not-utf8", "", {}
    if "ecursion" in error.msg:
        return "too-deep", "", {"depth": MOST_DEPTH}
    return "not-json", "", {"why": error.msg, "column": error.colno}


def _count_keys(row: Row) -> tuple[int, list[Problem]]:
    """Return how many keys all objects of `row` have together; a problem where it is too wide or too deep."""
    total, level, depth = 0, [row], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            return total, [("too-deep", "", {"depth": MOST_DEPTH})]
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                total += len(value)
                if len(value) > MOST_KEYS:
                    return total, [("too-many-keys", "", {"keys": len(value), "most": MOST_KEYS})]
                below += [inner for inner in value.values() if type(inner) in (dict, list)]
            else:
                below += [inner for inner in value if type(inner) in (dict, list)]
        level = below
    return total, []


def _twice(raw: bytes) -> list[Problem]:
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in items]
        if len(set(keys)) < len(keys):
            found.extend(sorted({key for key in keys if keys.count(key) > 1}))

    json.loads(raw, object_pairs_hook=pairs, parse_int=str)
    return [("duplicate-key", "", {"key": key}) for key in found]


def _large(raw: bytes) -> Iterator[Problem]:
    found: list[str] = []

    def integer(text: str) -> int:
        if len(text) > 15:
            found.append(text)
        return 0

    json.loads(raw, parse_int=integer)
    for text in found:
        digits = text.lstrip("-")
        if len(digits) > 20 or not -(2**63) <= int(text) < 2**64:
            yield "huge-integer", "", {"value": text}
        elif int(digits) > 2**53:
            yield "big-integer", "", {"value": text}
