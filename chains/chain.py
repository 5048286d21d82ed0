"""What every chain is: a langchain_core Runnable from a dict of inputs to a dict of inputs and outputs, recorded as it runs.

A subclass says what it takes (`input_keys`, `optional_keys`), what it makes (`output_keys`) and how (`_plan`). From that come invoke,
batch, stream and their async forms. Where nobody listens (no callbacks, no tracing) LangChain's callback machinery is left out, and
the chain's steps are told so (chains/quiet.py).
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.pydantic import create_model_v2
from pydantic import BaseModel

from chains import quiet
from chains.chunks import Chunk, Chunks
from chains.errors import UsageError, nearest
from chains.flow import aflow, flow
from chains.plan import Plan, adrive, astream, closing, drive, each, stream
from chains.prompt import missing_variable
from chains.runs.record import PARENT, OpenRun, save

Configs = RunnableConfig | list[RunnableConfig] | None


class Chain(Runnable[Any, dict[str, Any]]):
    """The base of this project's chains."""

    input_keys: tuple[str, ...] = ()
    optional_keys: tuple[str, ...] = ()
    output_keys: tuple[str, ...] = ()

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        """Yield the calls to make; return for each input a dict of the outputs, or an exception."""
        raise NotImplementedError

    def _piece(self, piece: Any) -> dict[str, Any]:
        """Return what a shown call's piece is of the outputs."""
        raise NotImplementedError

    def run(self, value: Any = None, /, **inputs: Any) -> Any:
        """Return the output alone, from the only input's value, a dict of inputs, or inputs by name (an unknown name is refused)."""
        if value is not None and inputs:
            raise UsageError(f"run takes a value or inputs by name, not both; given a value and {', '.join(inputs)}")
        if value is None:
            self.check_names(inputs)
        return self.invoke(inputs if value is None else value)[self._main_key()]

    def check_names(self, names: Mapping[str, Any]) -> None:
        """Raise UsageError for a name that is not an input of this chain."""
        known = [*self.input_keys, *self.optional_keys]
        for name in names:
            if name not in known:
                takes = ", ".join(known) or "nothing"
                raise UsageError(f"{self.get_name()} has no input '{name}'; it takes: {takes}{nearest(name, known)}")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return the inputs and the outputs, from a dict of inputs or from the value of the only one."""
        if not config and self._has_short_way(kwargs) and quiet.nobody_listens():
            result = self._alone(input, {}, kwargs)
            if isinstance(result, Exception):
                raise result
            return result
        return self.batch([input], config, **kwargs)[0]

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return what invoke returns, awaiting."""
        return (await self.abatch([input], config, **kwargs))[0]

    def batch(
        self, inputs: list[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Any]:
        """Return what invoke returns for each input; every step takes them all at once."""
        configs, listened = quiet.heard(config, len(inputs))
        if not listened:
            return _answers(self.unheard(inputs, configs, kwargs), return_exceptions)
        runs = self._begin(inputs, configs)

        def work(inputs: list[Any], run_manager: Any, config: list[RunnableConfig]) -> list[Any]:
            with _recorded(runs) as results:
                results += drive(self._whole(inputs, config, runs, kwargs))
            return results

        return self._batch_with_config(work, inputs, configs, return_exceptions=return_exceptions)

    def unheard(self, inputs: list[Any], configs: list[RunnableConfig], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return the results, exceptions among them, for callers who know that nobody listens: whole configs, one for each input."""
        if len(inputs) == 1 and self._has_short_way(kwargs):
            return [self._alone(inputs[0], configs[0], kwargs)]
        if len(inputs) > 1 and (lanes := self._ways()):
            return flow(self.aunheard, inputs, configs, kwargs, lanes)
        runs = self._begin(inputs, configs)
        with _recorded(runs) as results:
            results += drive(self._whole(inputs, configs, runs, kwargs), unheard=True)
        return results

    def lanes(self) -> int:
        """Return how many calls of this chain its model takes at once, whenever each of them comes; 0 where it gains nothing by that."""
        return 0

    def _ways(self) -> int:
        """Return how many inputs of a batch go their own ways through the steps (chains/flow.py); 0 where all take each step at once."""
        return 0

    def _has_short_way(self, kwargs: Mapping[str, Any]) -> bool:
        """Say whether `_one` can do what `_plan` does, for one input that nobody listens to."""
        return False

    def _one(self, given: Mapping[str, Any], run: OpenRun, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs of one input, by calls that need no config; the same as `_plan` makes."""
        raise NotImplementedError

    def _alone(self, input: Any, config: RunnableConfig, kwargs: Mapping[str, Any]) -> dict[str, Any] | Exception:
        """Return one input's result or the exception: what `_whole` does, without its columns."""
        run = OpenRun(config.get("run_name") or self.get_name(), input, config)
        failed: BaseException | None = None
        try:
            run.inputs = given = self._given(input)
            made = self._one(given, run, kwargs)
            run.output = made[self.output_keys[0]] if len(self.output_keys) == 1 else made
            return {**given, **made}
        except Exception as error:
            failed = error
            return error
        except BaseException as error:
            failed = error
            raise
        finally:
            run.end(failed)
            save((run,))

    async def abatch(
        self, inputs: list[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Any]:
        """Return what batch returns, awaiting."""
        configs, listened = quiet.heard(config, len(inputs))
        if not listened:
            return _answers(await self.aunheard(inputs, configs, kwargs), return_exceptions)
        runs = self._begin(inputs, configs)

        async def work(inputs: list[Any], run_manager: Any, config: list[RunnableConfig]) -> list[Any]:
            with _recorded(runs) as results:
                results += await adrive(self._whole(inputs, config, runs, kwargs))
            return results

        return await self._abatch_with_config(work, inputs, configs, return_exceptions=return_exceptions)

    async def aunheard(self, inputs: list[Any], configs: list[RunnableConfig], kwargs: Mapping[str, Any]) -> list[Any]:
        """Return what unheard returns, awaiting."""
        if len(inputs) > 1 and (lanes := self._ways()):
            return await aflow(self.aunheard, inputs, configs, kwargs, lanes)
        runs = self._begin(inputs, configs)
        with _recorded(runs) as results:
            results += await adrive(self._whole(inputs, configs, runs, kwargs), unheard=True)
        return results

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield dicts that add up to what invoke returns: the inputs with the first piece, then the pieces as they come."""
        configs, listened = quiet.heard(config, 1)
        runs = self._begin([input], configs)

        def work(values: Iterator[Any], run_manager: Any, config: RunnableConfig) -> Iterator[Chunk]:
            with _recorded(runs) as results:
                given = self._given(next(values))
                chunks = Chunks(given, self.output_keys, self._piece)
                for piece in stream(self._whole([given], [config], runs, kwargs), unheard=not listened):
                    yield from chunks.of(piece)
                results += chunks.results

        if listened:
            yield from self._transform_stream_with_config(iter([input]), work, configs[0])
        else:
            yield from work(iter([input]), None, configs[0])

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Yield what stream yields, awaiting."""
        configs, listened = quiet.heard(config, 1)
        runs = self._begin([input], configs)

        async def work(values: AsyncIterator[Any], run_manager: Any, config: RunnableConfig) -> AsyncIterator[Chunk]:
            with _recorded(runs) as results:
                given = self._given(await anext(values))
                chunks = Chunks(given, self.output_keys, self._piece)
                plan = self._whole([given], [config], runs, kwargs)
                async with closing(astream(plan, unheard=not listened)) as pieces:
                    async for piece in pieces:
                        for chunk in chunks.of(piece):
                            yield chunk
                results += chunks.results

        async def only() -> AsyncIterator[Any]:
            yield input

        told = self._atransform_stream_with_config(only(), work, configs[0]) if listened else None
        async with closing(told or work(only(), None, configs[0])) as chunks:
            async for chunk in chunks:
                yield chunk

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the inputs as a pydantic model, as LangChain and our own wiring check read it."""
        fields: dict[str, Any] = dict.fromkeys(self.input_keys, (Any, ...))
        fields |= dict.fromkeys(self.optional_keys, (Any, None))
        return create_model_v2(self.get_name("Input"), field_definitions=fields)

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the inputs and outputs as a pydantic model."""
        fields: dict[str, Any] = dict.fromkeys((*self.input_keys, *self.output_keys), (Any, ...))
        return create_model_v2(self.get_name("Output"), field_definitions=fields)

    def _main_key(self) -> str:
        if len(self.output_keys) != 1:
            raise UsageError(
                f"run returns one output, and {self.get_name()} makes {', '.join(self.output_keys)}; use invoke"
            )
        return self.output_keys[0]

    def _given(self, value: Any) -> dict[str, Any]:
        """Return the inputs as a dict; a bare value is the only input's."""
        if not isinstance(value, Mapping):
            if len(self.input_keys) != 1:
                raise UsageError(
                    f"{self.get_name()} takes {', '.join(self.input_keys) or 'nothing'}; give a dict of them"
                )
            return {self.input_keys[0]: value}
        if error := missing_variable(self.get_name(), self.input_keys, value):
            raise error
        return dict(value)

    def _begin(self, inputs: Sequence[Any], configs: Sequence[RunnableConfig]) -> list[OpenRun]:
        name = self.get_name()
        return [
            OpenRun(config.get("run_name") or name, value, config)
            for value, config in zip(inputs, configs, strict=True)
        ]

    def _whole(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        """Carry out the plan between the inputs' check and the recording of the outputs."""
        values = each(self._given, inputs)
        for run, value in zip(runs, values, strict=True):
            run.inputs = run.inputs if isinstance(value, Exception) else value
        below = [_below(config, run) for config, run in zip(configs, runs, strict=True)]
        outputs = yield from self._plan(values, below, runs, kwargs)
        for run, made in zip(runs, outputs, strict=True):
            if not isinstance(made, Exception):
                run.output = made[self.output_keys[0]] if len(self.output_keys) == 1 else made
        return each(lambda value, made: {**value, **made}, values, outputs)


def _below(config: RunnableConfig, run: OpenRun) -> RunnableConfig:
    """Return the config for a run's own steps."""
    below = {key: value for key, value in config.items() if key not in ("run_id", "run_name")}
    return {**below, "metadata": {**config["metadata"], PARENT: run.id}}  # type: ignore[typeddict-item]


@contextmanager
def _recorded(runs: Sequence[OpenRun]) -> Iterator[list[Any]]:
    """Yield a list for the runs' results, and write the runs down however the block ends."""
    results: list[Any] = []
    try:
        yield results
    except BaseException as error:
        for run in runs:
            run.end(error)
        raise
    else:
        for run, result in zip(runs, results, strict=True):
            run.end(result if isinstance(result, Exception) else None)
    finally:
        save(runs)


def _answers(results: list[Any], return_exceptions: bool) -> list[Any]:
    failed = None if return_exceptions else next((result for result in results if isinstance(result, Exception)), None)
    if failed is not None:
        raise failed
    return results
