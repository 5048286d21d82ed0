"""The tools of one call, checked: what the model may use, and whether it must.

Tools come as functions, pydantic classes, langchain_core tools or OpenAI's dicts, and are OpenAI's dicts from here on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from chains.errors import UsageError, nearest
from chains.models.schemas import closed

WORDS = ("auto", "none", "required", "any")


@dataclass(frozen=True)
class Tools:
    """What may be called. `choice` is 'auto', 'required', or the name of the one tool that must be called."""

    definitions: tuple[dict[str, Any], ...]
    choice: str = "auto"
    parallel: bool = True
    """More than one call in an answer is allowed; never with a named choice."""

    @property
    def forced(self) -> bool:
        """Whether the answer has to be a call."""
        return self.choice != "auto"

    @property
    def strict(self) -> bool:
        """Whether a call that the model makes of its own accord is held to the tools' schemas, too."""
        return any(each["function"].get("strict") for each in self.definitions)

    @property
    def allowed(self) -> dict[str, dict[str, Any]]:
        """The JSON schema of the arguments, by the name of each tool that may be called."""
        schemas = {each["function"]["name"]: _arguments(each["function"]) for each in self.definitions}
        return {self.choice: schemas[self.choice]} if self.choice in schemas else schemas

    @property
    def several(self) -> bool:
        """Whether an answer may hold more than one call."""
        return self.parallel and self.choice in ("auto", "required")


def _arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(function.get("parameters") or {"type": "object", "properties": {}})
    return dict(closed({"type": "object", "properties": {}, **schema}))


def definitions(tools: Sequence[Any], strict: bool | None = None) -> list[dict[str, Any]]:
    """Return each tool as OpenAI's dict, once. Raises UsageError for what is no tool, or a name that two different tools have."""
    made: dict[str, dict[str, Any]] = {}
    for each in (_definition(tool, strict) for tool in tools):
        function = each["function"]
        known = made.setdefault(function["name"], each)["function"]
        if _untold(_arguments(known)) != _untold(_arguments(function)):
            raise UsageError(f"two tools are called {function['name']!r}; give each a name of its own")
    return list(made.values())


def _untold(schema: Any) -> Any:
    """Return a schema without its titles and descriptions."""
    if isinstance(schema, list):
        return [_untold(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {key for key in ("title", "description") if isinstance(schema.get(key), str)}
    return {key: _untold(value) for key, value in schema.items() if key not in told}


def _definition(tool: Any, strict: bool | None) -> dict[str, Any]:
    try:
        made = convert_to_openai_tool(tool, strict=strict)
    except Exception as error:  # pydantic, inspect and langchain_core each raise their own
        raise UsageError(
            f"{tool!r} cannot be a tool ({str(error).splitlines()[0]}); "
            "give a function with type hints and a docstring, a pydantic class, a langchain_core tool or OpenAI's dict"
        ) from error
    function = made.get("function") if isinstance(made, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise UsageError(f"the tool {tool!r} has no function with a name; local models call functions alone")
    return made


def chosen(given: Mapping[str, Any]) -> Tools | None:
    """Return the tools of a call's `tools`, `tool_choice` and `parallel_tool_calls`; None where there is nothing to call.

    Under a choice of 'none' the tools are left out of the prompt, so that the model answers in text.
    """
    made = tuple(definitions(given.get("tools") or ()))
    choice = _choice(given.get("tool_choice"), [each["function"]["name"] for each in made])
    parallel = given.get("parallel_tool_calls")
    if parallel not in (None, True, False):
        raise UsageError(f"parallel_tool_calls={parallel!r} cannot be used; expected True or False")
    if not made or choice == "none":
        return None
    return Tools(made, choice, parallel is not False)


def _choice(given: Any, names: Sequence[str]) -> str:
    if isinstance(given, Mapping):
        function = given.get("function")
        given = (
            (function.get("name") if isinstance(function, Mapping) else None) or given.get("name") or given.get("type")
        )
    match given:
        case None | "auto":
            return "auto"
        case False | "none":
            return "none"
        case True | "any" | "required" if names:
            return "required"
        case str() if given in names:
            return given
    if not names:
        raise UsageError(f"tool_choice={given!r} asks for a call, and there are no tools; give tools=[…]")
    known = [*WORDS, *names]
    near = nearest(given, known) if isinstance(given, str) else ""
    raise UsageError(f"tool_choice={given!r} cannot be used; expected one of {', '.join(known)}{near}")
