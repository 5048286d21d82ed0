"""The help in Korean: `of` looks a text up by its English, paragraph by paragraph. Read only when Korean help is shown.

The English stands where the command is written. A test walks all commands and names every paragraph that has no Korean here.
"""

from apps.cli.help_ko import data, documents, keep, start, training

TABLES = (start.TEXTS, documents.TEXTS, data.TEXTS, training.TEXTS, keep.TEXTS)
TEXTS = {english: korean for table in TABLES for english, korean in table.items()}


def paragraphs(english: str) -> list[str]:
    """Return the paragraphs of a help text, each as one line: they are the keys of the tables."""
    return [" ".join(paragraph.split()) for paragraph in english.split("\n\n")]


def of(english: str) -> str:
    """Return the Korean of a help text; a paragraph that has none stays as it is."""
    return "\n\n".join(_korean(line) for line in paragraphs(english))


def _korean(english: str) -> str:
    if english.startswith("Example: chaintune "):
        return english.replace("Example", "예", 1)
    return TEXTS.get(english, english)
