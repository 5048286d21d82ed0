"""A batch's file: each line {"custom_id", "method": "POST", "url", "body"}, all of them checked before the first is asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

MOST_LINES = 50_000
MOST_TOLD = 20
LINE_BYTES = 4 * 2**20


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of what is not empty."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if line.strip():
                yield number, line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > LINE_BYTES:
                return


def checked(path: Path, endpoint: str) -> tuple[int, list[dict[str, Any]]]:
    """Return how many requests there are, and what is wrong with the file, by line."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    count = 0
    for number, line in lines(path):
        count += 1
        problem = _problem(line, endpoint, seen)
        if problem and len(found) < MOST_TOLD:
            code, message, param = problem
            found.append({"code": code, "line": number, "message": message, "param": param})
        if count > MOST_LINES:
            return count, [_whole("too_many_requests", f"a batch has at most {MOST_LINES} requests; send several")]
    return count, found or ([] if count else [_whole("empty_file", "the file holds no requests; give one a line")])


def _whole(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "line": None, "message": message, "param": None}


def _problem(line: bytes, endpoint: str, seen: set[str]) -> tuple[str, str, str | None] | None:
    if len(line) > LINE_BYTES:
        return "line_too_long", f"the line is longer than {LINE_BYTES} bytes", None
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        return "invalid_json_line", "This line is not parseable as valid JSON.", None
    name = row.get("custom_id")
    if not isinstance(name, str) or not name:
        return "missing_required_parameter", "custom_id is missing; give each line a text of its own", "custom_id"
    if name in seen:
        return "duplicate_custom_id", f"custom_id {name!r} is there twice; give each line one of its own", "custom_id"
    seen.add(name)
    if row.get("method") != "POST":
        return "invalid_method", f"method is {row.get('method')!r}; use 'POST'", "method"
    if row.get("url") != endpoint:
        return "mismatched_endpoint", f"url is {row.get('url')!r}, and the batch is for {endpoint!r}", "url"
    if not isinstance(row.get("body"), dict) or row["body"].get("stream"):
        return "invalid_body", "body is to be an object without stream", "body"
    return None
