"""Asking a model many things at once, through a chain: every prompt of a step goes into one `.batch`, so that the engine stays full.

Where the model takes a seed, each prompt can have one of its own, so that a maker makes the same again. What a reply cost is counted, and what the model does not take of a recipe's sampling settings is left out and named, not passed over.
Nothing is written to the run store: a maker's own journal is the record.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chains.errors import ContextError, ModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Messages = Sequence[Mapping[str, Any]]

TOO_LONG = "longer than the model's context"

_SAMPLING = {
    "stop": "stop_sequences",
    "max_tokens": "max_completion_tokens",
}  # as langchain_openai names some of them too
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Reply:
    """What a model said; `cut` where it had to stop at max_tokens."""

    text: str
    cut: bool = False


@dataclass
class Usage:
    """The tokens read and written, and what a million of each costs in dollars (0 where nothing is paid)."""

    input_tokens: int = 0
    output_tokens: int = 0
    price_in: float = 0.0
    price_out: float = 0.0

    @property
    def cost(self) -> float:
        """The price of all tokens so far, in dollars."""
        return (self.input_tokens * self.price_in + self.output_tokens * self.price_out) / 1e6

    def add(self, read: int, written: int) -> None:
        """Count the tokens of a reply."""
        self.input_tokens += read
        self.output_tokens += written

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and the cost where a price was given."""
        counts = {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens}
        return {**counts, "cost": round(self.cost, 6)} if self.price_in or self.price_out else counts

    def __str__(self) -> str:
        counts = f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out"
        return f"{counts}, ${self.cost:,.4f}" if self.price_in or self.price_out else counts


@dataclass
class Asker:
    """A model to ask, and what it has cost so far."""

    llm: "BaseChatModel"
    usage: Usage = field(default_factory=Usage)
    left_out: set[str] = field(default_factory=set)
    """The sampling settings that were asked for and that this model does not take."""
    last: tuple[int, int] = (0, 0)
    """The tokens that the last `ask` read and wrote."""

    def ask(
        self,
        prompts: Sequence[Messages],
        seeds: Sequence[int] | None = None,
        schema: Mapping[str, Any] | None = None,
        **sampling: Any,
    ) -> list[Reply | Exception]:
        """Return a reply, or what went wrong, for each prompt; all are asked in one batch. `seeds` has one for each prompt, where any.

        A model that runs here writes by the JSON schema `schema`, if one is given; another has the prompt's word for it alone, since not
        every server takes one.
        Where none could be answered it raises what went wrong first; but a prompt that is longer than the model can read is one without an
        answer, and no reason to stop.
        """
        if not prompts:
            return []
        from chains import runs
        from chains.llm_chain import LLMChain
        from chains.prompt import Prompt
        from chains.samples import Seeded

        chain = LLMChain(llm=self.llm, prompt=Prompt(turns=(("history", "said"),)), output_parser=_facts())
        inputs: list[Any] = [{"said": _messages(prompt)} for prompt in prompts]
        taken = self._taken(sampling if seeds is None else {**sampling, "seed": None})
        if schema and self.llm._llm_type == "chaintune-local":
            taken["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        called: Any = chain
        if "seed" in taken and seeds is not None:
            del taken["seed"]
        if self._draws() and seeds is not None:
            called, inputs = Seeded(chain), list(zip(inputs, seeds, strict=True))
        with runs.off():
            found = called.batch(inputs, return_exceptions=True, **taken)
        replies = [
            one if isinstance(one, Exception) else Reply(one["text"]["text"], one["text"]["cut"]) for one in found
        ]
        self._count([one["text"] for one in found if not isinstance(one, Exception)])
        failed = [reply for reply in replies if isinstance(reply, Exception)]
        wrong = [reply for reply in failed if not too_long(reply)]
        if wrong and len(failed) == len(replies):
            raise wrong[0]
        return replies

    def _count(self, replies: Sequence[Mapping[str, Any]]) -> None:
        self.last = sum(reply["read"] for reply in replies), sum(reply["written"] for reply in replies)
        self.usage.add(*self.last)

    def _draws(self) -> bool:
        """True where a seed decides what the model says: a scripted one speaks its lines in the order it is asked."""
        return self.llm._llm_type != "chaintune-fake" and "seed" in type(self.llm).model_fields

    def _taken(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that the model has a field for."""
        fields = type(self.llm).model_fields
        taken = {name: value for name, value in sampling.items() if name in fields or _SAMPLING.get(name) in fields}
        self.left_out |= sampling.keys() - taken.keys()
        return taken


def seed_of(seed: int, *place: int | str) -> int:
    """Return the 31 bits that seed the request at `place`: the same whatever was asked before it, so that work goes on as it was begun."""
    return random.Random(":".join(map(str, (seed, *place)))).getrandbits(31)


def too_long(said: Reply | Exception) -> bool:
    """True where there is no reply because the prompt is longer than the model can read, here or on a server."""
    return isinstance(said, ContextError) or getattr(said, "code", None) == "context_length_exceeded"


def unanswered(error: Exception) -> str:
    """Return why there is no reply, as makers count it."""
    return TOO_LONG if too_long(error) else "no answer"


def texts(replies: Sequence[Reply | Exception]) -> list[str]:
    """Return the replies' texts. Raises ModelError at the first that failed."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise ModelError(f"the model did not answer one of {len(replies)} prompts: {reply}") from reply
    return [reply.text for reply in replies if isinstance(reply, Reply)]


def user(text: str) -> list[dict[str, str]]:
    """Return a prompt of one message."""
    return [{"role": "user", "content": text}]


def destination(llm: "BaseChatModel") -> str | None:
    """Return the host that the texts are sent to, or None where the model runs on this machine."""
    if not type(llm).__module__.startswith("langchain_openai"):
        return None
    host = urlsplit(str(getattr(llm, "openai_api_base", None) or "https://api.openai.com")).hostname
    return None if host in _HERE else host


def _facts() -> Any:
    from langchain_core.runnables import RunnableLambda

    return RunnableLambda(_read)


def _read(message: Any) -> dict[str, Any]:
    """Return of a model's message what a maker needs, as plain data."""
    usage = message.usage_metadata or {}
    return {
        "text": str(message.text),
        "cut": message.response_metadata.get("finish_reason") == "length",
        "read": usage.get("input_tokens", 0),
        "written": usage.get("output_tokens", 0),
    }


def _messages(rows: Messages) -> list[Any]:
    from langchain_core.messages import convert_to_messages

    return convert_to_messages([{"role": row["role"], "content": row["content"]} for row in rows])
