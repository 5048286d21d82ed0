"""A chatbot's memory: the exchanges of one session, in the run store."""

import time

from chains.runs import store
from chains.runs.record import clean, is_off
from chains.runs.redaction import hidden


class Conversation:
    """The exchanges (question, answer) of one session, shared by everything that names the same session.

    While runs are off it lives in this process's memory, apart from what is on disk.
    """

    def __init__(self, session: str) -> None:
        self.session = session

    def add(self, question: str, answer: str, run: str) -> None:
        """Keep one exchange; `run` is the id of the run that made the answer."""
        with store.transaction(private=is_off()) as db:
            db.execute(
                "INSERT INTO exchanges (session, question, answer, run, at) VALUES (?,?,?,?,?)",
                (self.session, hidden(clean(question)), hidden(clean(answer)), run, time.time()),
            )

    def exchanges(self, limit: int = -1) -> list[tuple[str, str]]:
        """Return the latest `limit` exchanges (-1: all), oldest first."""
        sql = "SELECT question, answer FROM exchanges WHERE session = ? ORDER BY place DESC LIMIT ?"
        return [
            (question, answer)
            for question, answer in reversed(store.rows(sql, (self.session, limit), private=is_off()))
        ]

    def after(self, place: int) -> list[tuple[int, str, str]]:
        """Return (place, question, answer) of the exchanges after `place`, oldest first."""
        sql = "SELECT place, question, answer FROM exchanges WHERE session = ? AND place > ? ORDER BY place"
        return store.rows(sql, (self.session, place), private=is_off())

    def summary(self) -> tuple[str, int]:
        """Return the summary of the earlier exchanges and the place of the last one in it; ("", 0) where there is none."""
        found = store.rows("SELECT text, place FROM summaries WHERE session = ?", (self.session,), private=is_off())
        return (found[0][0], found[0][1]) if found else ("", 0)

    def summarised(self, text: str, place: int) -> None:
        """Keep the summary of the exchanges up to `place`, in place of the one before."""
        with store.transaction(private=is_off()) as db:
            sql = "INSERT OR REPLACE INTO summaries (session, text, place, at) VALUES (?,?,?,?)"
            db.execute(sql, (self.session, clean(text), place, time.time()))

    def clear(self) -> None:
        """Forget every exchange, and their summary. The runs that made them stay in the record."""
        with store.transaction(private=is_off()) as db:
            db.execute("DELETE FROM exchanges WHERE session = ?", (self.session,))
            db.execute("DELETE FROM summaries WHERE session = ?", (self.session,))
