"""An answer and its sources, as text for a terminal and as plain data."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from apps.cli import show
from apps.text import text

if TYPE_CHECKING:
    from chains.chatbot import Answer
    from chains.citations import Citation


def as_data(answer: "Answer", session: str, model: str) -> dict[str, Any]:
    """Return what `--json` prints for an answer."""
    return {"answer": answer.text, "citations": [asdict(citation) for citation in answer.citations], "id": answer.id,
            "session": session, "model": model, "usage": answer.usage, "support": answer.support, "notes": list(answer.notes)}  # fmt: skip


def stream(pieces: Iterable[str]) -> None:
    """Print the pieces of an answer as they come, and end the line."""
    for piece in pieces:
        print(show.plain(piece), end="", flush=True)
    print(flush=True)


def print_rest(answer: "Answer | None", language: str) -> None:
    """Print what comes with an answer: its sources, and on stderr what a reader should know of it."""
    if answer is not None:
        print_sources(answer.citations, language)
        for note in answer.notes:
            show.note(note)


def print_sources(citations: Iterable["Citation"], language: str) -> None:
    """Print where an answer is from: source, place and the sentence itself."""
    for number, citation in enumerate(citations, 1):
        if number == 1:
            show.say(f"\n{text('sources', language)}")
        show.say(
            f"[{number}] {place(citation.source, citation.page, citation.heading, language)}\n    {citation.quote}"
        )


def place(source: str, page: int | None, heading: str | None, language: str) -> str:
    """Return where in a document something is, in one line."""
    parts = [source, text("page_number", language, page=page) if page is not None else "", heading or ""]
    return ", ".join(part for part in parts if part)
