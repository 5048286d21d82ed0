"""Asks the process of parse.py to read a file, and keeps that process for the next one.

read(Path("rules.pdf"), Limits()).text
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.text import Heading, Picture, Text, Unreadable


@dataclass(frozen=True)
class Limits:
    """What reading one file may take."""

    cpu_s: float = 8  # seconds of computing
    wall_s: float = 30  # seconds in all
    memory_bytes: int = 440 * 2**20  # of data; the process itself and its libraries take some 60 MiB more


@dataclass(frozen=True)
class Reading:
    """What came of a file, and what it took: exactly one of `text` (or of a picture `picture`) and `error`, half a sentence, is set."""

    text: Text | None
    error: str
    cpu_s: float
    peak_bytes: int
    picture: Picture | None = None


class Parser:
    """The process, started when it is first asked. Threads ask in turn; after a fork a new one is started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def read(self, path: Path, limits: Limits, edge: int = 0) -> Reading:
        """Return what the file holds, or why it cannot be read; of a picture the shorter side is `edge` pixels long."""
        with self._lock, tempfile.TemporaryDirectory(prefix="chaintune-") as folder:
            result = Path(folder) / "result.json"
            request = {"path": str(path.absolute()), "result": str(result), "edge": edge, **vars(limits)}
            answer = self._asked(request) or self._asked(request)  # twice: it may have ended, idle, between two files
            said = _said(answer, result, limits)
        took = float(answer.get("cpu_s", 0)), int(answer.get("peak_bytes", 0))
        if "error" in said:
            return Reading(None, said["error"], *took)
        if edge:
            return Reading(None, "", *took, Picture(**said))
        said["headings"] = tuple(Heading(*heading) for heading in said["headings"])
        return Reading(Text(**{**said, "breaks": tuple(said["breaks"])}), "", *took)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._process and self._owner == os.getpid():
                self._process.communicate()
            self._process = None

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the process's answer; nothing where it has ended."""
        if self._process is None or self._owner != os.getpid():
            self._process, self._owner = _started(), os.getpid()
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.kill()
            self._process.communicate()
            self._process = None
        return json.loads(line) if line else {}


def _started() -> "subprocess.Popen[str]":
    roots = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots)), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "retrieval.parse"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, text=True)


def _said(answer: dict[str, Any], result: Path, limits: Limits) -> dict[str, Any]:
    """Return the fields of a Text, or {"error": why there is none}."""
    if not answer:
        return {"error": "could not be read: the parser failed on it"}
    if answer["code"] == 0:
        said: dict[str, Any] = json.loads(result.read_bytes())
        return said
    if answer["late"]:
        return {"error": f"took more than {limits.wall_s:g} s to read"}
    if answer["code"] < 0:
        return {"error": f"needed more than {limits.cpu_s:g} s or {limits.memory_bytes // 2**20} MiB to read"}
    return {"error": "could not be read: the parser failed on it"}


_parser = Parser()


def read(path: Path, limits: Limits, edge: int = 0) -> Reading:
    """Return what the file holds, or why it cannot be read, by the one parser of this process; `edge` is for pictures."""
    return _parser.read(path, limits, edge)


def text(path: Path, limits: Limits) -> Text:
    """Return the file's text. Raises Unreadable."""
    found = read(path, limits)
    if found.text is None:
        raise Unreadable(found.error)
    return found.text


def picture(path: Path, limits: Limits, edge: int) -> Picture:
    """Return the file's picture, its shorter side `edge` pixels long. Raises Unreadable."""
    found = read(path, limits, edge)
    if found.picture is None:
        raise Unreadable(found.error)
    return found.picture
