"""What a person thinks of an answer: a thumb, a better answer, a word about it."""

import time

from chains.errors import UsageError
from chains.runs import store
from chains.runs.read import unknown
from chains.runs.record import clean
from chains.runs.redaction import hidden


def feedback(id: str, rating: int | None = None, correction: str | None = None, comment: str | None = None) -> None:
    """Keep a rating (+1 or -1), a correction (the answer as it should be) or a comment for the run `id`.

    What is given replaces what was there; what is not given stays. Raises UsageError for an unknown run or a value of no use.
    """
    _check(rating, correction, comment)
    with store.transaction() as db:
        known = db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchall()
        if known:
            db.execute(
                """INSERT INTO feedback VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (run) DO UPDATE SET
                    rating = coalesce(?2, rating), correction = coalesce(?3, correction), comment = coalesce(?4, comment), at = ?5""",
                (id, rating, correction and hidden(clean(correction)), comment and hidden(clean(comment)), time.time()),
            )
    if not known:
        raise unknown(id)


def unrate(id: str) -> None:
    """Take back the rating of the run `id`; its correction and its comment stay. Raises UsageError for an unknown run."""
    with store.transaction() as db:
        known = db.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchall()
        db.execute("UPDATE feedback SET rating = NULL, at = ? WHERE run = ?", (time.time(), id))
    if not known:
        raise unknown(id)


def _check(rating: int | None, correction: str | None, comment: str | None) -> None:
    if rating is None and correction is None and comment is None:
        raise UsageError("feedback needs a rating (+1 or -1), a correction or a comment")
    if rating is not None and (isinstance(rating, bool) or rating not in (1, -1)):
        raise UsageError(f"rating={rating!r} cannot be used; give +1 or -1")
    for name, text in (("correction", correction), ("comment", comment)):
        if text is not None and (not isinstance(text, str) or not text.strip()):
            raise UsageError(f"{name}={text!r} cannot be used; give a text that is not empty")
