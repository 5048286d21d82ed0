"""`chaintune sample`: the sample apps, each a short file to read, run and copy."""

import importlib.util
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.samples import SAMPLES, Sample, find
from apps.text import language, text
from chains.errors import UsageError


def sample(
    name: Annotated[str | None, typer.Argument(help="The sample's name; without it, all are listed.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Its inputs, as key=value.", metavar="[KEY=VALUE]...")
    ] = None,
    model: flags.Model = "starter",
    source: Annotated[
        bool, typer.Option("--source", help="Print the sample's own file in place of running it.")
    ] = False,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Run a sample app, or list them.

    Example: chaintune sample perfect-day city=Busan --model starter
    """
    words = language(lang)
    if name is None:
        _list(words, json)
        return
    chosen = find(name)
    if source:
        code = _source(chosen)
        show.as_json({"name": name, "source": code}) if json else print(code, end="")
        return
    result = chosen.run(model, _pairs(inputs or []), print if json else show.say, words)
    if json:
        show.as_json(result)
    else:
        for key, value in result.items():
            show.say(f"{key}: {value}")


def _list(words: str, json: bool) -> None:
    if json:
        show.as_json([{"name": s.name, "about": s.about[words], "inputs": s.defaults(words)} for s in SAMPLES.values()])
        return
    show.table(["NAME", "ABOUT", "INPUTS"], [(s.name, s.about[words], " ".join(s.inputs)) for s in SAMPLES.values()])
    show.say(f"\n{text('samples_run', words)}")


def _pairs(inputs: list[str]) -> dict[str, str]:
    pairs = {}
    for given in inputs:
        key, equals, value = given.partition("=")
        if not equals:
            raise UsageError(f"input {given!r} is no key=value; write for example city=Busan")
        pairs[key] = value
    return pairs


def _source(chosen: Sample) -> str:
    spec = importlib.util.find_spec(chosen.module)
    if spec is None or not spec.origin:
        raise UsageError(f"sample {chosen.name!r} has no file to print")
    with open(spec.origin, encoding="utf-8") as file:
        return file.read()
