"""What passes between a chat model and the engine: prompts become requests, and completions become answers.

Each prompt stands for itself: one that is too long is an error in its place, and the others go on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from chains.errors import UsageError
from chains.models import asked, chat_prompt, settings
from chains.models.answer import Answer
from chains.models.asked import Asked
from chains.models.reply import Reader, StreamReader
from chains.models.templates import PLAIN_STOP
from chains.models.weights import Loaded

if TYPE_CHECKING:
    from chains.models.constraint import Constraint
    from chains.models.engine import Completion, Request


Room = Callable[[int, int], int]
"""See Engine.room."""


@dataclass(frozen=True)
class Posed:
    """A prompt as the engine is asked it: a request for each of n answers, and how the answers are read."""

    wished: Asked
    reader: Reader
    requests: list["Request"]
    model_name: str

    def answer(self, completions: Sequence["Completion"]) -> Answer:
        """Return what the engine made of the requests."""
        return Answer(completions, len(self.requests[0].prompt_ids), self.wished, self.reader, self.model_name)


@dataclass(frozen=True)
class Exchange:
    """The prompts of one call."""

    posed: list[Posed | UsageError]

    def requests(self) -> list["Request"]:
        """Return what to ask of the engine, prompt after prompt."""
        return [request for each in self.posed if isinstance(each, Posed) for request in each.requests]

    def answers(self, outcomes: Sequence["Completion | Exception"]) -> list[Answer | Exception]:
        """Return the answer to each prompt, or what is wrong with it, from what became of the requests."""
        left = iter(outcomes)
        return [
            _answer(each, list(islice(left, len(each.requests)))) if isinstance(each, Posed) else each
            for each in self.posed
        ]

    def stream(self) -> "Streamed":
        """Return the only prompt as a stream. Raises what is wrong with it."""
        (posed,) = self.posed
        if isinstance(posed, UsageError):
            raise posed
        return Streamed(posed)


def _answer(posed: Posed, outcomes: Sequence["Completion | Exception"]) -> Answer | Exception:
    failed = next((each for each in outcomes if isinstance(each, Exception)), None)
    made = [each for each in outcomes if not isinstance(each, Exception)]
    return posed.answer(made) if failed is None else failed


class Streamed:
    """One answer while it comes: `request` is what to ask, and `chunks` what each piece of the engine's stream is."""

    def __init__(self, posed: Posed) -> None:
        self._posed = posed
        self._stream = StreamReader(posed.reader)
        (self.request,) = posed.requests

    def chunks(self, piece: "str | Completion") -> Iterator[ChatGenerationChunk]:
        """Yield the chunks that `piece` makes certain; with the completion the last. Raises TruncatedError as an answer does."""
        messages = self._stream.add(piece) if isinstance(piece, str) else self._end(piece)
        yield from (ChatGenerationChunk(message=message) for message in messages)

    def _end(self, completion: "Completion") -> Iterator[AIMessageChunk]:
        yield from self._stream.finish()
        answer, said = self._posed.answer([completion]), self._posed.reader.read(completion.text)
        answer.check_whole(completion, said)
        yield AIMessageChunk(content="", chunk_position="last", **answer.facts(completion, said))


def exchange(
    loaded: Loaded, room: Room, model_name: str, prompts: Sequence[list[BaseMessage]], wished: Asked
) -> Exchange:
    """Return what a call with these prompts asks; `room` is the engine's, which refuses a prompt that has none."""
    constraint = asked.constraint_of(wished, chat_prompt.form_of(loaded.tokenizer), loaded.tokenizer)
    posed: list[Posed | UsageError] = []
    for messages in prompts:
        try:
            posed.append(_posed(loaded, room, model_name, messages, wished, constraint))
        except UsageError as error:
            posed.append(error)
    return Exchange(posed)


def _posed(
    loaded: Loaded,
    room: Room,
    model_name: str,
    messages: list[BaseMessage],
    wished: Asked,
    constraint: "Constraint | None",
) -> Posed:
    """Return one prompt. Raises ContextError or UsageError where there is no room for it."""
    from chains.models.engine import Request, Sampling

    ids = chat_prompt.encode(loaded, messages, wished.tools)
    room(len(ids), wished.settings.max_tokens)
    values = wished.settings.model_dump(include=set(settings.SAMPLING))
    if not loaded.tokenizer.chat_template:
        values["stop"] += PLAIN_STOP
    seeds = _seeds(wished.settings.seed, wished.settings.n)
    reader = Reader(
        chat_prompt.form_of(loaded.tokenizer), wished.tools, loaded.tokenizer, ids, wished.schema is not None
    )
    requests = [Request(tuple(ids), Sampling(**{**values, "seed": seed}), constraint, loaded.adapter) for seed in seeds]
    return Posed(wished, reader, requests, model_name)


def _seeds(seed: int | None, n: int) -> list[int | None]:
    return [None if seed is None else (seed + place) % 2**63 for place in range(n)]
