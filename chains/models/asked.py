"""What one call asks of a local model, checked before anything loads: how to sample, which tools, which form of answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError
from chains.models import settings, structured
from chains.models.marks import single
from chains.models.schemas import closed
from chains.models.settings import Settings
from chains.models.tool_forms import OWN, Form, grammar
from chains.models.tools import Tools, chosen

if TYPE_CHECKING:
    from chains.models.constraint import Constraint

KNOWN = (*settings.TOOLS, "constraint")
HIDDEN = ("keep_cut", "ls_structured_output_format")  # for with_structured_output alone


@dataclass(frozen=True)
class Asked:
    """One call's wishes."""

    settings: Settings
    tools: Tools | None = None
    schema: dict[str, Any] | None = None
    constraint: "Constraint | None" = None
    keep_cut: bool = False
    """A forced call that was cut off is given as an invalid call, and is no error yet."""


def asked(model: Any, given: Mapping[str, Any]) -> Asked:
    """Return what a call of `model` asks. Raises UsageError for what is unknown, out of range, or cannot go together."""
    chosen_settings = settings.for_call(model, {k: v for k, v in given.items() if k not in HIDDEN}, KNOWN)
    made = Asked(
        chosen_settings,
        chosen(given),
        structured.schema_of(given.get("response_format")),
        given.get("constraint"),
        bool(given.get("keep_cut")),
    )
    if made.constraint is not None and made.schema is not None:
        raise UsageError("constraint and response_format both say what the answer looks like; give one of them")
    if made.tools and made.constraint is not None:
        raise UsageError(
            "a constraint leaves no room for a tool call; leave it out, or the tools (tool_choice='none'), "
            "or give response_format, which tools go together with"
        )
    return made


def decodes_under(given: Mapping[str, Any]) -> bool:
    """Say whether a call with these arguments may be decoded under a schema or grammar, which is compiled when it is first asked."""
    return any(given.get(name) is not None for name in ("tools", "response_format", "constraint"))


def constraint_of(wished: Asked, form: Form, tokenizer: Any) -> "Constraint | None":
    """Return what the answer is decoded under, None where it is free."""
    if wished.schema is None and not (wished.tools and (wished.tools.forced or wished.tools.strict)):
        return wished.constraint
    from chains.models.constraint import Constraint

    if wished.tools is None:
        return Constraint.json_schema(closed(wished.schema))
    if form is OWN:
        raise UsageError(
            "this model writes tool calls in a form that only its tokenizer reads, so neither a call nor a form of answer "
            "beside it can be demanded; use tool_choice='auto', tools that are not strict, and no response_format"
        )
    answer = None if wished.schema is None else closed(wished.schema)
    return Constraint.grammar(grammar(form, wished.tools, single(tokenizer), answer))
