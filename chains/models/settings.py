"""How an answer is sampled: the settings that a chat model here takes, when it is made and at every call, checked before torch loads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from chains.errors import UsageError, nearest

Stop = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...],
    BeforeValidator(lambda stop: (stop,) if isinstance(stop, str) else stop or ()),
]

_TOOLS = {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format"}


class Settings(BaseModel):
    """The settings of one call. Each is also an argument of the model, whose value stands where the call names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float, Field(ge=0, le=100)] = 0.7
    """Divides the logits; 0 takes the likeliest token."""
    max_tokens: Annotated[int, Field(ge=1)] = 256
    """The most tokens to generate, the end-of-turn token included."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Keep the fewest likeliest tokens whose probability adds up to this; 1 keeps all."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Keep only this many likeliest tokens; 0 keeps all."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """The random stream of each prompt, the same in a batch as alone; None draws a fresh one."""
    stop: Stop = ()
    """Texts that end the answer; they are not part of it."""


NAMES = tuple(Settings.model_fields)


def for_call(model: Any, given: Mapping[str, Any]) -> Settings:
    """Return the settings of one call of `model`: its own, under what the call gave (a `stop` of None gives nothing).

    Raises UsageError for a parameter that is unknown or out of range, and for tools.
    """
    check_names(type(model).__name__, given, NAMES, hidden=["stream"])  # LangChain reads `stream` itself
    values = {name: getattr(model, name) for name in NAMES}
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
    name = ".".join(map(str, first["loc"])) or "the value"
    return UsageError(f"{name}={first['input']!r} cannot be used; {first['msg'][:1].lower()}{first['msg'][1:]}")


def check_names(what: str, given: Iterable[str], known: Sequence[str], hidden: Iterable[str] = ()) -> None:
    """Raise UsageError for a parameter that is neither in `known` nor in `hidden`; the error names the known."""
    for name in given:
        if name in _TOOLS:
            raise no_tools(name)
        if name not in known and name not in hidden:
            raise UsageError(f"{what} has no parameter {name!r}; it takes {', '.join(known)}{nearest(name, known)}")


def no_tools(what: str) -> UsageError:
    """Return the error for a call that asks a local model for tools or a schema."""
    return UsageError(
        f"local models do not do tools or structured output yet, so {what} cannot be used; "
        "ask for JSON in the prompt and parse it with a langchain_core output parser, or use an 'openai:' model"
    )
