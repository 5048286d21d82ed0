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

    def clear(self) -> None:
        """Forget every exchange. The runs that made them stay in the record."""
        with store.transaction(private=is_off()) as db:
            db.execute("DELETE FROM exchanges WHERE session = ?", (self.session,))
