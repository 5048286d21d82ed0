"""Test collections: documents, questions, and judgements of which documents answer which question, in the forms that the field keeps.

    BEIR    a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv
    TREC    a folder with documents (<doc> <docno>), topics (<top> <num>) and judgements (topic, iteration, document, grade)
    SQuAD   a JSON file such as KorQuAD's: every paragraph is a document, and a question is answered by its own

Judgements may number the topics by <num> or by their place in the file, as Cranfield's do: by place where some judged number is no <num>.
"""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import UsageError

Grades = dict[str, dict[str, int]]
"""By question, the grade of each document that was judged: 1 or more answers it."""

_DOC = re.compile(r"<doc>.*?<docno>\s*([^<\s]+)\s*</docno>(.*?)</doc>", re.S | re.I)
_TOPIC = re.compile(r"<top>(.*?)(?=</top>|<top>|\Z)", re.S | re.I)
_NUMBER = re.compile(r"<num>\s*(?:Number:)?\s*([^<\s]+)", re.I)
_TITLE = re.compile(r"<title>\s*(?:Topic:)?([^<]*)", re.I)
_TAG = re.compile(r"<[^>]+>")
_SHOWN = "a folder in BEIR's or TREC's form, or a JSON file in SQuAD's"


@dataclass(frozen=True)
class Judged:
    """A test collection. `by_place` says that its judgements number the topics by their place in the file."""

    documents: dict[str, str]
    questions: dict[str, str]
    grades: Grades
    by_place: bool = False


def read(place: str | Path, split: str = "test") -> Judged:
    """Return the collection at `place`; `split` chooses among BEIR's judgements. Raises UsageError, naming file and line."""
    path = Path(place).expanduser()
    if not path.exists():
        raise UsageError(f"there is no test collection at {path}; give {_SHOWN}")
    if path.is_file():
        return _checked(_squad(path), path)
    return _checked(_beir(path, split) if (path / "corpus.jsonl").is_file() else _trec(path), path)


def _checked(found: Judged, path: Path) -> Judged:
    """Return the collection without empty documents and questions that nobody judged or that no document here answers."""
    documents = {name: text for name, text in found.documents.items() if text.strip()}
    grades = {
        question: judged
        for question, judged in found.grades.items()
        if question in found.questions and any(grade > 0 and name in documents for name, grade in judged.items())
    }
    if not grades:
        raise UsageError(
            f"no question of {path} is answered by one of its documents; do the three parts belong together?"
        )
    return Judged(documents, {question: found.questions[question] for question in grades}, grades, found.by_place)


def _beir(folder: Path, split: str) -> Judged:
    documents = {
        name: "\n".join(filter(None, (str(row.get("title") or ""), str(row.get("text") or ""))))
        for name, row in _rows(folder / "corpus.jsonl")
    }
    questions = {name: str(row.get("text") or "") for name, row in _rows(folder / "queries.jsonl")}
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        have = ", ".join(sorted(other.stem for other in (folder / "qrels").glob("*.tsv"))) or "none"
        raise UsageError(f"there are no judgements {path}; have {have}")
    return Judged(documents, questions, _grades(path, question=0, document=1, grade=2))


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the id and the object of every line."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            yield str(row["_id"]), row
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UsageError(f'{path}:{number}: expected a JSON object with "_id" and "text"') from None


def _grades(path: Path, question: int, document: int, grade: int) -> Grades:
    """Return what a file of judgements says; the numbers are its columns."""
    found: Grades = {}
    for number, line in _lines(path):
        parts = line.split()
        try:
            found.setdefault(parts[question], {})[parts[document]] = int(parts[grade])
        except (ValueError, IndexError):
            if number > 1:  # the first line of BEIR's names the columns
                raise UsageError(
                    f"{path}:{number}: expected a question, a document and a grade, a whole number"
                ) from None
    return found


def _trec(folder: Path) -> Judged:
    """Return the collection of a folder whose files are known by what is in them."""
    texts = {path: _text(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")}
    documents = [(name, _bare(body)) for text in texts.values() for name, body in _DOC.findall(text)]
    topics = [_topic(body) for text in texts.values() for body in _TOPIC.findall(text)]
    judged = [path for path, text in texts.items() if re.match(r"\S+\s+\S+\s+\S+\s+-?\d+\s*(\n|$)", text)]
    for what, there in (("documents (<doc>)", documents), ("topics (<top>)", topics), ("judgements", judged)):
        if not there:
            raise UsageError(f"{folder} holds no {what}; give {_SHOWN}")
    grades: Grades = {}
    for path in judged:
        grades |= _grades(path, question=0, document=2, grade=3)
    numbers = {number for number, _ in topics}
    by_place = not grades.keys() <= numbers
    names = [str(place) for place in range(1, len(topics) + 1)] if by_place else [number for number, _ in topics]
    if not grades.keys() <= set(names):
        strange = sorted(grades.keys() - set(names))[0]
        raise UsageError(
            f"{judged[0]} judges topic {strange!r}, which is neither the <num> of one nor the place of one"
        )
    return Judged(dict(documents), dict(zip(names, (title for _, title in topics), strict=True)), grades, by_place)


def _topic(body: str) -> tuple[str, str]:
    number, title = _NUMBER.search(body), _TITLE.search(body)
    return (number[1] if number else ""), _bare(title[1] if title else body)


def _bare(text: str) -> str:
    return html.unescape(_TAG.sub(" ", text)).strip()


def _squad(path: Path) -> Judged:
    names: dict[str, str] = {}
    questions: dict[str, str] = {}
    grades: Grades = {}
    try:
        for article in json.loads(_text(path))["data"]:
            for paragraph in article["paragraphs"]:
                name = names.setdefault(paragraph["context"], f"p{len(names)}")
                for asked in paragraph["qas"]:
                    questions[str(asked["id"])] = asked["question"]
                    grades[str(asked["id"])] = {name: 1}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path} is not in SQuAD's form (data, paragraphs, context, qas): {error!r}") from None
    return Judged({name: text for text, name in names.items()}, questions, grades)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise _unread(path, error) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unread(path, error) from None


def _unread(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} cannot be read: {error}; give {_SHOWN}, in UTF-8")
