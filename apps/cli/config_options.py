"""A stage's configuration as command-line options: one flag for each field, with the field's own type, default and help."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import typer

from apps.cli import flags
from tuning import presets

Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="A published recipe's numbers, where no flag says otherwise: instructgpt, or instructgpt-rl-init for sft.",
    ),
]


def command(config: type, run: Callable[[Any, bool], None], stage: str | None = None) -> Callable[..., None]:
    """Return a function for Typer whose options are the fields of the dataclass `config`; it calls `run(config(...), as_json)`.

    With a `stage` there is `--preset` too, which gives the numbers of a recipe for it; a flag that was written wins over the preset.
    """
    types = get_type_hints(config)
    parameters = [_parameter(item, types[item.name]) for item in fields(config)]
    if stage:
        parameters.append(inspect.Parameter("invocation", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        parameters.append(inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Preset))
    parameters.append(inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flags.Json))

    def call(**values: Any) -> None:
        as_json, preset, invocation = values.pop("json"), values.pop("preset", None), values.pop("invocation", None)
        if preset and stage:
            recipe = presets.numbers(preset, stage)
            values |= {name: value for name, value in recipe.items() if not _written(invocation, name)}
        run(config(**values), as_json)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _written(invocation: typer.Context, name: str) -> bool:
    source = invocation.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _parameter(item: Any, kind: Any) -> inspect.Parameter:
    flag = f"--{item.name.replace('_', '-')}"
    option = typer.Option(f"{flag}/--no-{flag[2:]}" if kind is bool else flag, help=item.metadata.get("help"))
    default = inspect.Parameter.empty if item.default is MISSING else item.default
    return inspect.Parameter(
        item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
