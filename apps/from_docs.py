"""The passages of a folder of documents, as a library would cut them, for making questions from."""

from collections.abc import Callable
from pathlib import Path

from chains.errors import UsageError
from retrieval.loaders import load
from retrieval.scan import scan, source_name
from retrieval.split import split
from retrieval.text import Unreadable
from tuning.generate.grounded import Passage

LEAST = 80  # characters: what is shorter is a heading or a stray line


def passages(place: str, skipped: Callable[[str], None]) -> list[Passage]:
    """Return every passage of the documents that `place` names, in order; `skipped` is told of each file that cannot be read.

    Raises UsageError where there is no document, or no passage in them.
    """
    scope = scan(place, Path("/nowhere"))
    found: list[Passage] = []
    for file in scope.files:
        name = source_name(file, scope.folder)
        try:
            document = load(file)
        except Unreadable as error:
            skipped(f"{name} {error}")
            continue
        for piece in split(document):
            if piece.end - piece.start >= LEAST:
                text = document.text[piece.start : piece.end]
                found.append(Passage(text, name, piece.start, piece.end, piece.heading, piece.page))
    if not found:
        raise UsageError(
            f"{place} has no passage of {LEAST} characters or more to ask about; give a folder of documents"
        )
    return found
