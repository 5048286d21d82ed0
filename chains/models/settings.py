"""How an answer is sampled: the settings that a chat model here takes, when it is made and at every call, checked before torch loads."""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from chains.errors import UsageError, nearest

Stop = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...],
    BeforeValidator(lambda stop: (stop,) if isinstance(stop, str) else stop or ()),
]
Penalty = Annotated[float, Field(ge=-2, le=2)]

TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_ELSEWHERE = {*TOOLS, "functions", "function_call"}
_ALIASES = {
    "max_length": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "do_sample": "temperature",
    "num_return_sequences": "n",
    "stop_sequences": "stop",
    "stop_strings": "stop",
    "random_seed": "seed",
    "guided_json": "response_format",
    "guided_regex": "constraint",
    "guided_choice": "constraint",
}
"""What other libraries call a parameter where the names are not alike."""


class Sampled(BaseModel):
    """The settings as fields, for a model that takes them."""

    temperature: Annotated[float, Field(ge=0, le=100)] = 0.7
    """Divides the logits; 0 takes the likeliest token."""
    max_tokens: Annotated[int, Field(ge=1)] = 256
    """The most tokens to generate, the end-of-turn token included."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Keep the fewest likeliest tokens whose probability adds up to this; 1 keeps all."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Keep only this many likeliest tokens; 0 keeps all."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Keep the tokens at least this share as likely as the likeliest; 0 keeps all."""
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Above 1, tokens that the prompt or the answer holds already become less likely (CTRL)."""
    presence_penalty: Penalty = 0.0
    """Subtracted from the logit of each token that the answer holds already (OpenAI's)."""
    frequency_penalty: Penalty = 0.0
    """Subtracted from a token's logit once for each time that the answer holds it (OpenAI's)."""
    logit_bias: dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict
    )
    """Added to the logits of these token ids."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """The random stream of each prompt, the same in a batch as alone; None draws a fresh one."""
    stop: Stop = ()
    """Texts that end the answer; they are not part of it."""
    ignore_ends: bool = False
    """Go on to max_tokens: the model's own end of turn ends nothing."""
    logprobs: bool = False
    """Give each token's log-probability, in `response_metadata`."""
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    """With `logprobs`: give this many of the likeliest tokens at each place, too."""
    n: Annotated[int, Field(ge=1, le=1024)] = 1
    """Answers to each prompt: `.generate` gives them all, `.invoke` the first. With a seed, answer i has the stream of seed + i."""


class Settings(Sampled):
    """The settings of one call. Each is also an argument of the model, whose value stands where the call names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="after")
    def _together(self) -> "Settings":
        if self.top_logprobs and not self.logprobs:
            raise UsageError(f"top_logprobs={self.top_logprobs} needs logprobs=True beside it")
        return self


NAMES = tuple(Settings.model_fields)
SAMPLING = tuple(name for name in NAMES if name != "n")
_values = itemgetter(*NAMES)


class Own:
    """A model's settings for calls that give none, checked again only where they were changed."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Any, ...], Settings] | None = None

    def of(self, model: Sampled) -> Settings:
        """Return the settings. Raises UsageError where one was changed to what cannot be used."""
        values = _values(model.__dict__)
        if self._last is None or self._last[0] != values:
            self._last = values, for_call(model, {})
        return self._last[1]


def for_call(model: Any, given: Mapping[str, Any], more: Sequence[str] = ()) -> Settings:
    """Return the settings of one call of `model`: its own, under what the call gave (a `stop` of None gives nothing).

    `more` are parameters that the model takes beside the settings. Raises UsageError for a parameter that is unknown or out of range.
    """
    check_names(type(model).__name__, given, (*NAMES, *more), hidden=["stream"])  # LangChain reads `stream` itself
    values = {name: getattr(model, name) for name in NAMES if hasattr(model, name)}
    values |= {name: value for name, value in given.items() if name in NAMES and (name, value) != ("stop", None)}
    return checked(values)


def checked(values: Mapping[str, Any]) -> Settings:
    """Return the settings. Raises UsageError, naming the first that cannot be used."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise one_sentence(error) from None


def one_sentence(error: ValidationError) -> UsageError:
    """Return the first thing that is wrong as an error for the caller."""
    first = error.errors()[0]
    if isinstance(own := first.get("ctx", {}).get("error"), UsageError):
        return own
    name = ".".join(map(str, first["loc"])) or "the value"
    return UsageError(f"{name}={first['input']!r} cannot be used; {first['msg'][:1].lower()}{first['msg'][1:]}")


def check_names(what: str, given: Iterable[str], known: Sequence[str], hidden: Iterable[str] = ()) -> None:
    """Raise UsageError for a parameter that is neither in `known` nor in `hidden`; the error names the known."""
    for name in given:
        if name in known or name in hidden:
            continue
        if name in _ELSEWHERE:
            raise _not_here(what, name, known)
        same = _ALIASES.get(name)
        near = f"; did you mean {same!r}?" if same in known else nearest(name, known)
        raise UsageError(f"{what} has no parameter {name!r}; it takes {', '.join(known)}{near}")


def _not_here(what: str, name: str, known: Sequence[str]) -> UsageError:
    if name in ("functions", "function_call"):
        return UsageError(
            f"{name} is OpenAI's old form and is not taken; give tools and tool_choice, or use bind_tools"
        )
    if what == "FakeChat":
        return UsageError(f"a scripted model says what it is told to, so {name} cannot be used")
    return UsageError(
        f"{name} belongs to a call and not to the model; use bind_tools, with_structured_output or invoke(…, {name}=…)"
    )
