"""Chains one after another, with the wiring checked when they are put together.

    SimpleSequentialChain(chains=[genre, movies]).run("something light")      # one value goes through
    SequentialChain(chains=[outline, draft], input_variables=["topic"], output_variables=["outline", "draft"])

A step is a chain, any langchain_core Runnable, or a function (see chains/steps.py; `named(step, "key")` names what a step makes).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig

from chains.chain import Chain
from chains.errors import ChaintuneError, UsageError, WiringError, nearest
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.steps import Step, as_step, one_value_step

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph


class _InTurn(Chain):
    steps: Sequence[Chain]
    verbose: bool

    def lanes(self) -> int:
        """Return how many calls the steps' models take at once."""
        return max(step.lanes() for step in self.steps)

    def _ways(self) -> int:
        one_way = self.verbose or len(self.steps) < 2  # what is printed stays in the order of the steps
        return 0 if one_way else self.lanes()


class SequentialChain(_InTurn):
    """Steps that share named values: each takes what it needs of what is there, and adds what it makes.

    `output_variables` are what invoke returns beside the inputs; without them, what the last step makes.
    """

    def __init__(
        self,
        *,
        chains: Sequence[Any],
        input_variables: Sequence[str],
        output_variables: Sequence[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.steps = [as_step(step) for step in _some(chains)]
        self.verbose = verbose
        self.input_keys = tuple(input_variables)
        available = _wired(self.steps, self.input_keys)
        self.output_keys = self.steps[-1].output_keys if output_variables is None else tuple(output_variables)
        for name in self.output_keys:
            if name not in available or name in self.input_keys:
                made = [key for key in available if key not in self.input_keys]
                raise WiringError(
                    f"output variable '{name}' is made by no step; made: {', '.join(made)}{nearest(name, made)}"
                )

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        _no_settings(self, kwargs)
        values = each(lambda given: {key: given[key] for key in self.input_keys}, inputs)
        for number, step in enumerate(self.steps, 1):
            needed = each(partial(_needed, step), values)
            made = yield _step_call(step, needed, configs, last=number == len(self.steps))
            made = _placed(needed, made, f"step {number} '{_label(step)}'")
            if self.verbose:
                each(partial(_print, number, step), made)
            values = each(lambda had, new, step=step: had | {key: new[key] for key in step.output_keys}, values, made)
        return each(lambda value: {key: value[key] for key in self.output_keys}, values)

    def get_graph(self, config: RunnableConfig | None = None) -> "Graph":
        """Return which step takes whose values, as langchain_core draws it."""
        from chains.graph import graph_of

        available, rows = list(self.input_keys), []
        for step in self.steps:
            taken = _needed(step, dict.fromkeys(available))
            rows.append((_label(step), step, list(taken)))
            available += step.output_keys
        return graph_of(self, rows)

    def _piece(self, piece: Any) -> dict[str, Any]:
        shown = [key for key in self.steps[-1].output_keys if key in self.output_keys]
        return {key: piece[key] for key in shown if key in piece}


class SimpleSequentialChain(_InTurn):
    """Steps that each turn one value into one value; names do not matter. It takes `input` and makes `output`."""

    def __init__(self, *, chains: Sequence[Any], verbose: bool = False) -> None:
        self.steps = [
            one_value_step(step, f"step {number} '{_label(as_step(step))}'")
            for number, step in enumerate(_some(chains), 1)
        ]
        self.verbose = verbose
        self.input_keys, self.output_keys = ("input",), ("output",)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        _no_settings(self, kwargs)
        values = each(lambda given: given["input"], inputs)
        for number, step in enumerate(self.steps, 1):
            needed = each(lambda value, step=step: {step.input_keys[0]: value}, values)
            made = yield _step_call(step, needed, configs, last=number == len(self.steps))
            made = _placed(needed, made, f"step {number} '{_label(step)}'")
            if self.verbose:
                each(partial(_print, number, step), made)
            values = each(lambda new, step=step: new[step.output_keys[0]], made)
        return each(lambda value: {"output": value}, values)

    def get_graph(self, config: RunnableConfig | None = None) -> "Graph":
        """Return the steps in a line, as langchain_core draws it."""
        from chains.graph import line_of

        return line_of(self, [(_label(step), step) for step in self.steps])

    def _piece(self, piece: Any) -> dict[str, Any]:
        key = self.steps[-1].output_keys[0]
        return {"output": piece[key]} if key in piece else {}


def _some(chains: Sequence[Any]) -> Sequence[Any]:
    if not chains:
        raise WiringError("chains is empty; give at least one step")
    return chains


def _wired(steps: Sequence[Chain], inputs: Sequence[str]) -> list[str]:
    """Return the names of all values there are at the end. Raises WiringError where a step does not fit."""
    available, used = list(inputs), set[str]()
    for number, step in enumerate(steps, 1):
        place = f"step {number} '{_label(step)}'"
        if not step.output_keys:
            raise WiringError(f"{place} has no name for its output; write named(step, 'key')")
        for name in step.input_keys:
            if name not in available:
                raise WiringError(
                    f"{place} needs '{name}'; available: {', '.join(available) or 'nothing'}{nearest(name, available)}"
                )
        for name in step.output_keys:
            if name in available:
                raise WiringError(
                    f"{place} would overwrite '{name}'; available already: {', '.join(available)}; choose another key"
                )
        used |= set(available if _takes_everything(step) else (*step.input_keys, *step.optional_keys))
        available += step.output_keys
    for name in inputs:
        if name not in used:
            raise WiringError(
                f"input variable '{name}' is used by no step; the steps use: {', '.join(sorted(used)) or 'nothing'}"
            )
    return available


def _takes_everything(step: Chain) -> bool:
    return isinstance(step, Step) and step.takes.form == "everything"


def _needed(step: Chain, values: dict[str, Any]) -> dict[str, Any]:
    if _takes_everything(step):
        return values
    return {key: values[key] for key in (*step.input_keys, *step.optional_keys) if key in values}


def _step_call(step: Chain, inputs: list[Any], configs: Sequence[RunnableConfig], last: bool) -> Call:
    return Call(step, inputs, [{**config, "run_name": _label(step)} for config in configs], shown=last)


def _label(step: Chain) -> str:
    return step.output_keys[0] if len(step.output_keys) == 1 else step.get_name()


def _placed(inputs: list[Any], results: list[Any], place: str) -> list[Any]:
    """Return `results`; the exceptions that came up at this step, not before it, say so."""
    for before, result in zip(inputs, results, strict=True):
        if isinstance(result, ChaintuneError) and result is not before:
            result.args = (f"{place}: {result}",)
        elif isinstance(result, Exception) and result is not before:
            result.add_note(f"in {place}")
    return results


def _no_settings(chain: Chain, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise UsageError(
            f"{chain.get_name()} takes no {', '.join(kwargs)}; bind it on the model of a step: llm.bind(...)"
        )


def _print(number: int, step: Chain, made: Mapping[str, Any]) -> None:
    for key in step.output_keys:
        print(f"[step {number}] {key}: {made[key]}")
