"""Answers kept between runs, in LangChain's cache slot, on disk: samples stay samples.

    from langchain_core.globals import set_llm_cache
    set_llm_cache(SampledCache())                 # for every chat model; or LocalChat(..., cache=SampledCache("answers.db"))

An answer at temperature 0, or with a seed, is the same every time, and comes from the cache. One that was sampled is not: the first call of
a program gets the first answer that was kept for it, the second call the second, and when there are no more the model is asked. So three
calls are three samples, not one three times, and a program that is run again gets the same three. Of a model that does not say how it
samples, every call counts as sampled.
"""

import ast
import contextlib
import os
import re
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import orjson
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration, Generation

from chains.errors import MachineError, UsageError
from chains.home import home
from chains.runs.record import to_json

_BUSY_MS = 5000
_MOST_PLACES = 100_000  # of how many prompts it is kept in mind which sample comes next
_SETTING = re.compile(r"\('(temperature|seed)', ([-+.\w]+)\)")
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    prompt TEXT NOT NULL, llm TEXT NOT NULL, place INTEGER NOT NULL,  -- place: which sample it is, from 0
    answer TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (prompt, llm, place)
) WITHOUT ROWID; CREATE INDEX IF NOT EXISTS oldest ON answers (used)"""


class SampledCache(BaseCache):
    """A cache in the SQLite file `path`, by default `cache.db` under CHAINTUNE_HOME, of at most `limit` answers: the least recently used go.

    A file that cannot be used is a MachineError here; one that fails later is a warning, and the model is asked.
    """

    def __init__(self, path: str | Path | None = None, limit: int = 100_000) -> None:
        if limit < 1:
            raise UsageError(f"limit={limit} cannot be used; keep at least 1 answer")
        self.path = (Path(path) if path is not None else home() / "cache.db").absolute()
        self.limit = limit
        self._lock = threading.Lock()
        self._next: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._opened: tuple[int, apsw.Connection] | None = None
        try:
            self._connection()
        except apsw.Error as error:
            raise MachineError(f"{self.path} cannot be used as a cache ({error}); choose another file") from error

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the answer that was kept, or None. Each sampled answer is returned once."""
        key, found = (prompt, llm_string), []
        with self._using() as db:
            place = 0 if is_certain(llm_string) else self._taken(key)
            found = list(db.execute("SELECT answer FROM answers WHERE prompt=? AND llm=? AND place=?", (*key, place)))
            if found:
                sql = "UPDATE answers SET used=? WHERE prompt=? AND llm=? AND place=?"
                db.execute(sql, (time.time_ns(), *key, place))
        return [_generation(row) for row in orjson.loads(found[0][0])] if found else None

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer; a sampled one beside those that are there."""
        key = (prompt, llm_string)
        with self._using() as db, db:
            place = 0
            if not is_certain(llm_string):
                sql = "SELECT coalesce(max(place) + 1, 0) FROM answers WHERE prompt=? AND llm=?"
                ((place,),) = db.execute(sql, key)
                self._next[key] = max(self._next.get(key, 0), place + 1)  # one's own answer is no further sample
            row = (*key, place, to_json([_row(one) for one in return_val]), time.time_ns())
            db.execute("INSERT OR REPLACE INTO answers VALUES (?,?,?,?,?)", row)
            ((count,),) = db.execute("SELECT count(*) FROM answers")
            if count > self.limit:
                sql = "SELECT prompt, llm, place FROM answers ORDER BY used LIMIT ?"
                oldest = list(db.execute(sql, (count - self.limit,)))
                db.executemany("DELETE FROM answers WHERE prompt=? AND llm=? AND place=?", oldest)

    def clear(self, **kwargs: Any) -> None:
        """Forget every answer."""
        with self._using() as db:
            db.execute("DELETE FROM answers")
            self._next.clear()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened[1].close()
            self._opened = None

    def _taken(self, key: tuple[str, str]) -> int:
        """Return which sample of `key` this program has not had yet, and count it as had."""
        place = self._next.get(key, 0)
        self._next[key] = place + 1
        self._next.move_to_end(key)
        if len(self._next) > _MOST_PLACES:
            self._next.popitem(last=False)
        return place

    @contextlib.contextmanager
    def _using(self) -> Iterator[apsw.Connection]:
        with self._lock:
            try:
                yield self._connection()
            except apsw.Error as error:
                warnings.warn(f"the cache {self.path} is not used: {error}", RuntimeWarning, stacklevel=3)

    def _connection(self) -> apsw.Connection:
        """Return this process's connection: one that came over a fork belongs to the parent."""
        if self._opened is None or self._opened[0] != os.getpid():
            db = apsw.Connection(str(self.path))
            db.set_busy_timeout(_BUSY_MS)
            db.pragma("journal_mode", "wal")
            db.pragma("synchronous", "normal")
            db.execute(_TABLE)
            self._opened = (os.getpid(), db)
        return self._opened[1]


def is_certain(llm_string: str) -> bool:
    """Return whether LangChain's account of a call says that the answer is the same every time: temperature 0, or a seed."""
    made, _, given = llm_string.rpartition("---") if llm_string.startswith("{") else ("{}", "", llm_string)
    settings = {**_json(made).get("kwargs", {}), **_pairs(given)}
    try:
        return settings.get("seed") is not None or float(settings["temperature"]) == 0
    except (KeyError, TypeError, ValueError):
        return False


def _json(text: str) -> dict[str, Any]:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}


def _pairs(text: str) -> dict[str, Any]:
    """Return the settings in the text of a list of (name, value) pairs, of which some values may not be plain."""
    try:
        return dict(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return {name: None if value == "None" else value for name, value in _SETTING.findall(text)}


def _row(generation: Generation) -> dict[str, Any]:
    """Return an answer as plain data: a chat model's is its message."""
    if isinstance(generation, ChatGeneration):
        return {"message": messages_to_dict([generation.message])[0], "info": generation.generation_info}
    return {"text": generation.text, "info": generation.generation_info}


def _generation(row: dict[str, Any]) -> Generation:
    if "message" in row:
        (message,) = messages_from_dict([row["message"]])
        return ChatGeneration(message=message, generation_info=row["info"])
    return Generation(text=row["text"], generation_info=row["info"])
