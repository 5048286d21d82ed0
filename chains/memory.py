"""What chatbots remember, across sessions: which there are, finding a word again, taking them out as chat rows, forgetting one.

memory.sessions()                    # the latest first
memory.search("대출", session="u42")
memory.export("chats.jsonl")
memory.delete("u42")
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import UsageError, nearest
from chains.home import write_file
from chains.runs import store
from chains.runs.conversation import Conversation
from chains.runs.record import is_off, to_json


@dataclass(frozen=True)
class Session:
    """One conversation, and when something was last said in it (seconds since 1970)."""

    name: str
    exchanges: int
    last: float


@dataclass(frozen=True)
class Exchange:
    """One question with its answer; `run` is the id of the run that made it."""

    session: str
    question: str
    answer: str
    run: str | None
    at: float  # seconds since 1970


def sessions() -> list[Session]:
    """Return every session, the one that was used last first."""
    sql = "SELECT session, count(*), max(at) FROM exchanges GROUP BY session ORDER BY max(place) DESC"
    return [Session(*row) for row in store.rows(sql, private=is_off())]


def search(text: str, session: str | None = None, limit: int = 20) -> list[Exchange]:
    """Return the latest exchanges, newest first, that hold `text` anywhere, in the question or the answer, whatever the case of a-z.

    Raises UsageError where the text is empty.
    """
    if not text.strip() or limit < 1:
        raise UsageError(
            f"cannot search for {text!r}, at most {limit}; give a text that is not empty, and a limit of at least 1"
        )
    like = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    sql = """SELECT session, question, answer, run, at FROM exchanges
        WHERE (question LIKE ?1 ESCAPE '\\' OR answer LIKE ?1 ESCAPE '\\') AND (?2 IS NULL OR session = ?2)
        ORDER BY place DESC LIMIT ?3"""
    return [Exchange(*row) for row in store.rows(sql, (like, session, limit), private=is_off())]


def export(path: str | Path | None = None, session: str | None = None) -> list[dict[str, Any]]:
    """Return a chat row `{"messages": [...]}` for each session, or for the one named; with `path`, also write them there as JSONL.

    Raises UsageError for a session that there is not, or a file with nothing to write in it.
    """
    names = [one.name for one in sessions()]
    if session is not None and session not in names:
        raise unknown(session, names)
    rows = [_row(name) for name in (names if session is None else [session])]
    if path is not None:
        if not rows:
            raise UsageError("no conversation is remembered yet, so there is nothing to write")
        write_file(Path(path), "".join(to_json(row) + "\n" for row in rows))
    return rows


def delete(session: str) -> None:
    """Forget a session: its exchanges and its summary. The runs that made them stay in the record. Raises UsageError where there is none."""
    names = [one.name for one in sessions()]
    if session not in names:
        raise unknown(session, names)
    Conversation(session).clear()


def unknown(session: str, names: list[str]) -> UsageError:
    """Return the error for a session that there is not."""
    return UsageError(f"no session {session!r}; there are {len(names)}{nearest(session, names)}")


def _row(session: str) -> dict[str, Any]:
    said = [
        (role, text)
        for pair in Conversation(session).exchanges()
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return {"messages": [{"role": role, "content": text} for role, text in said]}
