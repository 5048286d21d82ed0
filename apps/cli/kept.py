"""The conversations that are remembered: `chat --sessions`, `chat --export FILE` and `chat --session NAME --delete`."""

import time
from dataclasses import asdict
from pathlib import Path

from apps.cli import show
from apps.text import text
from chains.errors import UsageError


def keep(session: str | None, listed: bool, export: Path | None, delete: bool, language: str, json: bool) -> None:
    """Do the one thing that was asked. Raises UsageError where it was more than one, or where nothing is remembered under the name."""
    if listed + (export is not None) + delete > 1:
        raise UsageError("--sessions, --export and --delete are three things to do; give one of them")
    if listed:
        _list(language, json)
    elif export is not None:
        _export(session, export, language, json)
    else:
        _delete(session, language, json)


def _list(language: str, json: bool) -> None:
    from chains import memory

    found = memory.sessions()
    if json:
        show.as_json([asdict(one) for one in found])
    elif found:
        rows = [[one.name, one.exchanges, time.strftime("%m-%d %H:%M", time.localtime(one.last))] for one in found]
        show.table(["SESSION", "EXCHANGES", "LAST"], rows)
    else:
        show.say(text("sessions_none", language))


def _export(session: str | None, path: Path, language: str, json: bool) -> None:
    from chains import memory

    rows = memory.export(path, session)
    if json:
        show.as_json({"file": str(path), "rows": len(rows)})
    else:
        show.say(text("session_exported", language, file=path, rows=len(rows)))


def _delete(session: str | None, language: str, json: bool) -> None:
    from chains import memory

    if session is None:
        raise UsageError("--delete forgets one conversation; name it with --session NAME (--sessions lists them)")
    memory.delete(session)
    if json:
        show.as_json({"deleted": session})
    else:
        show.say(text("session_deleted", language, session=session))
