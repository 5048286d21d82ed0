"""The shipped text, Korean and English in turn, as one corpus."""

from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent


def text(more: Sequence[Path] = ()) -> str:
    """Return the shipped paragraphs, an empty line between them, and after them those of the files in `more`."""
    files = [FOLDER / "corpus.ko.txt", FOLDER / "corpus.en.txt", *more]
    return "\n\n".join(path.read_text(encoding="utf-8").strip() for path in files) + "\n"
