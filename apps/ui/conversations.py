"""Conversations as the page shows them, read back from the run store: what was said, from which sources, and how it was rated."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from chains import runs
from chains.chatbot import Answer
from chains.errors import UsageError
from chains.passages import END, SOURCE, START

_LATEST = 500  # how many runs are looked through for conversations


@dataclass(frozen=True)
class Source:
    """A sentence that speaks for an answer, and the rest of the passage that it stands in."""

    source: str
    page: int | None
    heading: str | None
    quote: str
    before: str
    after: str


@dataclass
class Message:
    """One thing said: by the `user`, by the `assistant`, or by the page itself (`error`)."""

    role: str
    text: str = ""
    id: str = ""
    rating: int | None = None
    stopped: bool = False
    sources: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def answered(answer: Answer) -> Message:
    """Return an answer that was just given."""
    sources = _sources(answer.id, [asdict(c) for c in answer.citations])
    return Message("assistant", answer.text, answer.id, sources=sources, notes=list(answer.notes))


def titles(most: int = 12) -> dict[str, str]:
    """Return the latest conversations, newest first: each session's name with its first question."""
    found: dict[str, str] = {}
    for run in runs.recent(_LATEST):
        if _is_exchange(run):
            found[str(run.session)] = run.inputs["question"]
    return dict(list(found.items())[:most])


def messages(session: str) -> list[Message]:
    """Return what was said in a session, oldest first."""
    said = []
    for run in reversed(runs.recent(_LATEST)):
        if run.session == session and _is_exchange(run):
            said.append(Message("user", run.inputs["question"]))
            sources = _sources(run.id, run.output.get("citations") or [])
            notes = list(run.output.get("notes") or [])
            said.append(Message("assistant", run.output["answer"], run.id, run.rating, sources=sources, notes=notes))
    return said


def _is_exchange(run: runs.Run) -> bool:
    return (
        run.session is not None
        and isinstance(run.inputs, dict)
        and isinstance(run.inputs.get("question"), str)
        and isinstance(run.output, dict)
        and isinstance(run.output.get("answer"), str)
    )


def _sources(id: str, citations: Sequence[Mapping[str, Any]]) -> list[Source]:
    passages = _passages(id) if citations else []
    return [_source(citation, passages) for citation in citations]


def _source(citation: Mapping[str, Any], passages: Sequence[Mapping[str, Any]]) -> Source:
    start, end = citation["start"], citation["end"]
    before = after = ""
    for passage in passages:
        about, text = passage["metadata"], passage["page_content"]
        first = about.get(START, 0)
        if about.get(SOURCE) == citation["source"] and first <= start and end <= about.get(END, first + len(text)):
            before, after = text[: start - first], text[end - first :]
            break
    return Source(citation["source"], citation["page"], citation["heading"], citation["quote"], before, after)


def _passages(id: str) -> list[Mapping[str, Any]]:
    """Return the passages that an answer was made from; none where runs are not recorded."""
    try:
        steps = runs.get(id).steps
    except UsageError:
        return []
    outputs = [step.output for step in steps if isinstance(step.output, dict)]
    return next((output["passages"] for output in outputs if output.get("passages")), [])
