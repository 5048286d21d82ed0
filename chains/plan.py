"""How a chain is carried out: it says which runnables to call, and a driver calls them, at once, in turn, streamed or awaited.

A chain's work is written once, as a generator that yields `Call`s and is sent their results (a list, one for each input). An
exception is a result like any other and stays in its place, so that one failed item does not take its batch with it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig

from chains import quiet


@dataclass(frozen=True)
class Call:
    """Call `runnable` on each input that is not an exception; one config for each input."""

    runnable: Runnable[Any, Any]
    inputs: Sequence[Any]
    configs: Sequence[RunnableConfig]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shown: bool = False
    """A stream shows this call's pieces as they come."""
    through: Runnable[Any, Any] | None = None
    """The parser that the pieces pass on their way out; the call's result is what came before it."""


T = TypeVar("T")
Plan = Generator[Call, list[Any], list[Any]]


@dataclass(frozen=True)
class Finished:
    """What a stream yields last: the plan's results."""

    results: list[Any]


def each(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """Return `function` of each row of `columns`. The first exception in a row, or the one it raises, is the row's result."""
    results: list[Any] = []
    for row in zip(*columns, strict=True):
        for value in row:
            if isinstance(value, Exception):
                results.append(value)
                break
        else:
            try:
                results.append(function(*row))
            except Exception as error:
                results.append(error)
    return results


def drive(plan: Plan, unheard: bool = False) -> list[Any]:
    """Return the plan's results. `unheard` says that nobody listens: calls then go in by the shorter way where there is one."""
    results: list[Any] | None = None
    while True:
        try:
            call = plan.send(results)  # type: ignore[arg-type]  # a generator's first send is None
        except StopIteration as done:
            return done.value
        results = _perform(call, unheard)


async def adrive(plan: Plan, unheard: bool = False) -> list[Any]:
    """Return the plan's results, awaiting its calls."""
    results: list[Any] | None = None
    while True:
        try:
            call = plan.send(results)  # type: ignore[arg-type]
        except StopIteration as done:
            return done.value
        results = await _aperform(call, unheard)


def stream(plan: Plan, unheard: bool = False) -> Iterator[Any]:
    """Yield the pieces of the calls that are shown, then Finished. The plan is for one input."""
    results: list[Any] | None = None
    while True:
        try:
            call = plan.send(results)  # type: ignore[arg-type]
        except StopIteration as done:
            yield Finished(done.value)
            return
        if not _can_show(call):
            results = _perform(call, unheard)
            continue
        whole: list[Any] = []
        try:
            pieces = (
                quiet.stream(call.runnable, call.inputs[0], call.configs[0], call.kwargs)
                if unheard and not _heard(call.configs)
                else None
            )
            said = _kept(pieces or call.runnable.stream(call.inputs[0], call.configs[0], **call.kwargs), whole)
            yield from said if call.through is None else call.through.transform(said, call.configs[0])
            results = [_total(whole)]
        except Exception as error:
            results = [error]


async def astream(plan: Plan, unheard: bool = False) -> AsyncGenerator[Any, None]:
    """Yield the pieces of the calls that are shown, then Finished, awaiting."""
    results: list[Any] | None = None
    while True:
        try:
            call = plan.send(results)  # type: ignore[arg-type]
        except StopIteration as done:
            yield Finished(done.value)
            return
        if not _can_show(call):
            results = await _aperform(call, unheard)
            continue
        whole: list[Any] = []
        try:
            pieces = _akept(call.runnable.astream(call.inputs[0], call.configs[0], **call.kwargs), whole)
            shown = pieces if call.through is None else call.through.atransform(pieces, call.configs[0])
            async with closing(pieces), closing(shown):
                async for piece in shown:
                    yield piece
            results = [_total(whole)]
        except Exception as error:
            results = [error]


def _can_show(call: Call) -> bool:
    return call.shown and len(call.inputs) == 1 and not isinstance(call.inputs[0], Exception)


def _kept(pieces: Iterator[Any], whole: list[Any]) -> Iterator[Any]:
    for piece in pieces:
        whole.append(piece)
        yield piece


async def _akept(pieces: AsyncIterator[Any], whole: list[Any]) -> AsyncIterator[Any]:
    async with closing(pieces):
        async for piece in pieces:
            whole.append(piece)
            yield piece


@asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Yield `pieces` and close them with the block, so that a reader who leaves frees the model at once."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _total(pieces: list[Any]) -> Any:
    """Return what the pieces add up to; of pieces that do not add (each a fuller value), the last."""
    if not pieces:
        return None
    if isinstance(pieces[0], AIMessageChunk):
        return pieces[0] + pieces[1:] if len(pieces) > 1 else pieces[0]
    total = pieces[0]
    for piece in pieces[1:]:
        try:
            total = total + piece
        except TypeError:
            total = piece
    return total


def _perform(call: Call, unheard: bool) -> list[Any]:
    inputs, configs, live = _live(call)
    if not inputs:
        return list(call.inputs)
    made = quiet.batch(call.runnable, inputs, configs, call.kwargs) if unheard and not _heard(configs) else None
    if made is None and len(inputs) == 1:
        try:
            made = [call.runnable.invoke(inputs[0], configs[0], **call.kwargs)]
        except Exception as error:
            made = [error]
    elif made is None:
        made = call.runnable.batch(inputs, configs, return_exceptions=True, **call.kwargs)
    return _placed(call, live, made)


async def _aperform(call: Call, unheard: bool) -> list[Any]:
    inputs, configs, live = _live(call)
    if not inputs:
        return list(call.inputs)
    made = await quiet.abatch(call.runnable, inputs, configs, call.kwargs) if unheard and not _heard(configs) else None
    if made is None and len(inputs) == 1:
        try:
            made = [await call.runnable.ainvoke(inputs[0], configs[0], **call.kwargs)]
        except Exception as error:
            made = [error]
    elif made is None:
        made = await call.runnable.abatch(inputs, configs, return_exceptions=True, **call.kwargs)
    return _placed(call, live, made)


def _heard(configs: Sequence[RunnableConfig]) -> bool:
    """Say whether a plan gave the call callbacks of its own."""
    return any(config.get("callbacks") for config in configs)


def _live(call: Call) -> tuple[list[Any], list[RunnableConfig], list[int]]:
    """Return the inputs that are no exceptions, their configs and their places."""
    live = [place for place, value in enumerate(call.inputs) if not isinstance(value, Exception)]
    return [call.inputs[place] for place in live], [call.configs[place] for place in live], live


def _placed(call: Call, live: Sequence[int], made: Sequence[Any]) -> list[Any]:
    results = list(call.inputs)
    for place, value in zip(live, made, strict=True):
        if isinstance(value, BaseException) and not isinstance(value, Exception):
            raise value  # a cancellation or an interrupt, which langchain_core returns as a result where callbacks listen
        results[place] = value
    return results
