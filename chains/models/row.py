"""One request on its way through the engine: what it has read, what it has said, and who is waiting for it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chains.models.constraint import Constraint, Matcher
from chains.models.detokenize import TextStream
from chains.models.kv import Path, Segment, path_length
from chains.models.sampling import Chosen, Draw, Sampling


@dataclass(frozen=True)
class Request:
    """What to continue, and how."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    constraint: Constraint | None = None
    """What the answer must be: JSON of a schema, a match of a regular expression, one of some choices, a sentence of a grammar."""
    adapter: str | None = None
    """The LoRA adapter that answers, by the name it has in the model; None: the model itself."""


@dataclass(frozen=True)
class Completion:
    """What came out: `token_ids` with the end-of-turn token where it was sampled, `text` without it and without the stop text."""

    token_ids: list[int]
    logprobs: list[float]
    """Each token's log-probability under the model itself, where the request asked for them."""
    text: str
    finish_reason: str
    """`stop`: the model ended its turn or a stop text came; `length`: max_tokens or the model's context was used up."""
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    """For each token the likeliest ones and their log-probabilities, where the request asked for them."""


Listener = Callable[[int | str], None]
"""Hears of a row's progress: its tokens, or, where stop texts are watched for, its text."""


class Row:
    """One request in flight. `own` tokens are on its pages, after the tokens of its path."""

    def __init__(
        self, request: Request, limit: int, ends: frozenset[int], tokenizer: Any, matcher: Matcher | None
    ) -> None:
        self.request = request
        self.ids = np.asarray(request.prompt_ids, dtype=np.int64)
        self.limit = limit
        self.future: Future[Completion] = Future()
        self.future.set_running_or_notify_cancel()  # only the engine ends it
        self.listener: Listener | None = None
        self.keep = False
        self.cancelled = False
        self.path: Path = ()
        self.own = 0
        self.tokens: list[int] = []
        self.finish: str | None = None
        self._ends = frozenset() if request.sampling.ignore_ends else ends
        self._tokenizer = tokenizer
        self._said: list[Chosen] = []
        self._pieces: list[str] = []
        self._watch = TextStream(tokenizer, request.sampling.stop) if request.sampling.stop else None
        self.draw = Draw(request.sampling, request.prompt_ids, matcher)

    @property
    def read(self) -> int:
        """How many tokens' keys and values there are."""
        return path_length(self.path) + self.own

    @property
    def unread(self) -> np.ndarray:
        """The prompt's tokens that are still to be read."""
        return self.ids[self.read :]

    @property
    def known(self) -> np.ndarray:
        """The tokens whose keys and values there are: the prompt and what was said, without the last."""
        return np.concatenate([self.ids, np.asarray(self.tokens, dtype=np.int64)])[: self.read]

    @property
    def need(self) -> int:
        """The most tokens it can come to."""
        return len(self.ids) + self.limit

    def take(self, chosen: Chosen) -> None:
        """Add a token; `finish` says whether it was the last."""
        self.tokens.append(chosen.token)
        self._said.append(chosen)
        piece: int | str = chosen.token
        if chosen.token in self._ends:
            self.finish, piece = "stop", ""
        elif self._watch:
            piece = self._watch.add(chosen.token)
            self.finish = "stop" if self._watch.stopped else None
        if self.finish is None and len(self.tokens) >= self.limit:
            self.finish = "length"
        if self._watch:
            piece = f"{piece}{self._watch.finish()}" if self.finish else piece
            self._pieces.append(str(piece))
        if self.listener and piece != "":
            self.listener(piece)

    def completion(self) -> Completion:
        """Return what came out."""
        asked = self.request.sampling
        said = [token for token in self.tokens if token not in self._ends]
        text = (
            "".join(self._pieces)
            if self._watch
            else self._tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )
        return Completion(
            self.tokens,
            [chosen.logprob for chosen in self._said if chosen.logprob is not None] if asked.logprobs else [],
            text,
            self.finish or "length",
            [list(chosen.top) for chosen in self._said] if asked.top_logprobs else [],
        )


class GivenUp(Exception):
    """Nobody waits any more for what a forward computes."""


@dataclass
class Fill:
    """A shared beginning that is read before the rows that share it: `segment` follows `path`."""

    row: Row
    """The row that enters next, with this beginning."""
    path: Path
    segment: Segment
    own: int = 0

    def serves(self, row: Row) -> bool:
        """Return whether a row begins with it."""
        length = path_length(self.path) + self.segment.length
        alike = row.request.adapter == self.request.adapter
        return alike and len(row.ids) > length and np.array_equal(row.ids[:length], self.row.ids[:length])

    @property
    def request(self) -> Request:
        """The request of the row that it is read for."""
        return self.row.request

    @property
    def unread(self) -> np.ndarray:
        """The tokens that are still to be read."""
        start = path_length(self.path)
        return self.row.ids[start + self.own : start + self.segment.length]
