"""Anything as a step of a chain: another chain, any langchain_core Runnable, or a plain function.

What a step takes and makes is known when the chain is built:
- a chain says it itself;
- a function takes its parameters, and makes one value under its own name (or, where its return type is a TypedDict, that type's keys);
- a Runnable takes what its input schema says (everything there is, where the schema says nothing), and makes one value that needs
  a name: `named(prompt | llm, "draft")`. A message that it makes is passed on as its text.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints, is_typeddict

from langchain_core.runnables import Runnable, RunnableConfig, RunnableParallel, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import ensure_config, run_in_executor, set_config_context
from langchain_core.runnables.passthrough import RunnableAssign
from pydantic import RootModel

from chains.chain import Chain
from chains.errors import UsageError, WiringError
from chains.model_call import text_of
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun


@dataclass(frozen=True)
class Takes:
    """What a step is given: a dict of `names`, the `value` of its only input as it is, or `everything` there is, as a dict."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    form: Literal["names", "value", "everything"] = "names"


def named(step: Any, *keys: str, inputs: str | Sequence[str] | None = None) -> Chain:
    """Return `step` as a chain whose output is under `key`; with several keys, `step` returns a dict that has them.

    `inputs` says what it takes where that cannot be seen: several names, given as a dict (to a function, as arguments), or one name
    alone, whose value is given as it is: `named(len, "length", inputs="draft")`.
    """
    if not keys:
        raise WiringError("named(step, key) needs the key that the step's output gets")
    if inputs is None:
        takes = _takes(step)
    else:
        takes = Takes((inputs,), form="value") if isinstance(inputs, str) else Takes(tuple(inputs))
    return Step(step, takes, keys, apart=len(keys) > 1)


def as_step(step: Any) -> Chain:
    """Return `step` as a chain; `output_keys` is empty where its output has no name yet."""
    if isinstance(step, Chain):
        return step
    takes, keys = _takes(step), _made_keys(step)
    if keys or isinstance(step, Runnable):
        return Step(step, takes, keys, apart=True)
    name = getattr(step, "__name__", "<lambda>")
    return Step(step, takes, () if name == "<lambda>" else (name,), apart=False)


def one_value_step(step: Any, place: str) -> Chain:
    """Return `step` as a chain from one input to one output, whatever their names. Raises WiringError where it is not."""
    chain = as_step(step)
    if isinstance(chain, Step):
        chain = chain.for_one_value()
    for kind, keys in (("inputs", chain.input_keys), ("outputs", chain.output_keys)):
        if len(keys) != 1:
            raise WiringError(
                f"{place} has the {kind} {', '.join(keys) or '(none)'}, and here each step has one; use SequentialChain"
            )
    return chain


class Step(Chain):
    """A Runnable or function with names for what it takes and makes; `apart` says that its dict is taken apart into the outputs."""

    def __init__(self, inner: Any, takes: Takes, output_keys: tuple[str, ...], apart: bool) -> None:
        self.inner = inner
        self.takes = takes
        self.apart = apart
        self.input_keys, self.optional_keys, self.output_keys = takes.required, takes.optional, output_keys
        self.name = (
            inner.get_name() if isinstance(inner, Runnable) else getattr(inner, "__name__", type(inner).__name__)
        )
        self._runnable = inner if isinstance(inner, Runnable) else Function(inner, by_name=takes.form != "value")

    def for_one_value(self) -> "Step":
        """Return this step for a place where the one value that there is has no name."""
        takes = self.takes
        if len(takes.required) < 2 and (takes.form == "everything" or not isinstance(self.inner, Runnable)):
            takes = Takes((takes.required + takes.optional + ("input",))[:1], form="value")
        return Step(self.inner, takes, self.output_keys or ("output",), self.apart and bool(self.output_keys))

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        results = yield Call(self._runnable, each(self._payload, inputs), configs, kwargs, shown=True)
        return each(self._outputs, results)

    def _payload(self, inputs: dict[str, Any]) -> Any:
        if self.takes.form == "everything":
            return inputs
        if self.takes.form == "value":
            return inputs[self.input_keys[0]]
        return {key: inputs[key] for key in (*self.input_keys, *self.optional_keys) if key in inputs}

    def _outputs(self, result: Any) -> dict[str, Any]:
        if isinstance(self.inner, Chain) and not self.apart:
            return {self.output_keys[0]: result[self.inner.output_keys[0]]}
        if not self.apart:
            return {self.output_keys[0]: text_of(result)}
        missing = [key for key in self.output_keys if not isinstance(result, Mapping) or key not in result]
        if missing:
            had = ", ".join(map(str, result)) if isinstance(result, Mapping) else f"a {type(result).__name__}"
            raise UsageError(f"the step was to return a dict with '{missing[0]}'; it returned: {had}")
        return {key: text_of(result[key]) for key in self.output_keys}

    def _piece(self, piece: Any) -> dict[str, Any]:
        if isinstance(self.inner, Chain) and not self.apart:
            key = self.inner.output_keys[0]
            return {self.output_keys[0]: piece[key]} if key in piece else {}
        if not self.apart:
            return {self.output_keys[0]: text_of(piece)}
        return {key: text_of(piece[key]) for key in self.output_keys if key in piece}


class Function(Runnable[Any, Any]):
    """A function as a Runnable, given a dict as its arguments (`by_name`) or one value."""

    def __init__(self, function: Callable[..., Any], by_name: bool) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self._call = (lambda values: function(**values)) if by_name else function
        self._awaits = inspect.iscoroutinefunction(function)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if self._awaits:
            raise UsageError(f"{self.name} is an async function; use ainvoke, abatch or astream")
        with set_config_context(ensure_config(config)) as context:
            return context.run(self._call, input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if not self._awaits:
            return await run_in_executor(config, self.invoke, input, config)
        with set_config_context(ensure_config(config)) as context:
            return await asyncio.create_task(self._call(input), context=context)


def _takes(step: Any) -> Takes:
    if isinstance(step, Step):
        return step.takes
    if isinstance(step, Chain):
        return Takes(step.input_keys, step.optional_keys)
    if isinstance(step, Runnable):
        return _schema_takes(step)
    if callable(step):
        return _signature_takes(step)
    raise WiringError(f"{step!r} cannot be a step; a step is a chain, a langchain_core Runnable or a function")


def _schema_takes(step: Runnable[Any, Any]) -> Takes:
    try:
        schema: Any = step.get_input_schema()
    except TypeError:  # langchain_core: its input type cannot be inferred
        return Takes(form="everything")
    if issubclass(schema, RootModel):
        return Takes(form="everything")
    fields = {field.alias or name: field.is_required() for name, field in schema.model_fields.items()}
    anything = fields.pop("root", None) is not None  # a parallel step, one branch of which does not say what it takes
    required, optional = ([name for name, needed in fields.items() if needed is kind] for kind in (True, False))
    return Takes(tuple(required), tuple(optional), "everything" if anything else "names")


def _signature_takes(function: Callable[..., Any]) -> Takes:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:  # some built-in functions do not say
        raise WiringError(
            f"the parameters of {function!r} cannot be seen; write named(function, key, inputs=...)"
        ) from error
    kinds = {parameter.kind for parameter in parameters}
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = tuple(p.name for p in plain if p.default is p.empty)
    optional = tuple(p.name for p in plain if p.default is not p.empty)
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        return Takes((*required, *optional)[:1], form="value")
    return Takes(required, optional, "everything" if inspect.Parameter.VAR_KEYWORD in kinds else "names")


def _made_keys(step: Any) -> tuple[str, ...]:
    """Return the keys of the dict that `step` is known to return, or none."""
    if isinstance(step, Chain):
        return step.output_keys
    if isinstance(step, RunnableBindingBase):
        return _made_keys(step.bound)
    if isinstance(step, RunnableSequence):
        return _made_keys(step.last)
    if isinstance(step, RunnableAssign):
        return _made_keys(step.mapper)
    if isinstance(step, RunnableParallel):
        return tuple(step.steps__)
    return () if isinstance(step, Runnable) else _typed_keys(step)


def _typed_keys(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError):  # a hint that is not defined here, or an object that has none
        return ()
    return tuple(returned.__annotations__) if is_typeddict(returned) else ()
