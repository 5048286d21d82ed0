"""`chaintune runs tail|compare|rerun`: runs as they come, two side by side, and a call made again with another model."""

import difflib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.run_lines import first_text, line, short

if TYPE_CHECKING:
    from chains.runs import Run

_EVERY_S = 0.5  # between two looks for new runs

Id = Annotated[str, typer.Argument(help="A run's id, or a step's, as `runs list` and `runs show` have it.")]


def tail(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the latest to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones until Ctrl-C.")] = False,
    session: Annotated[str | None, typer.Option("--session", help="Those of one conversation alone.")] = None,
    json: flags.Json = False,
) -> None:
    """Show the latest runs, the newest last; with --follow, new ones as they end. With --json every run is a line of its own.

    Example: chaintune runs tail -f
    """
    from chains import runs

    place, _ = runs.after(-1)
    for run in reversed(runs.recent(limit, session)):
        _say(run, json)
    with suppress(KeyboardInterrupt):
        while follow:
            sleep(_EVERY_S)
            place, found = runs.after(place, session)
            for run in found:
                _say(run, json)


def compare(first: Id, second: Id, json: flags.Json = False) -> None:
    """Show two runs side by side: model, sampling, tokens and time, and how prompt and answer differ.

    Example: chaintune runs compare 4f2a91c07be35d18 9b1c33d2aa04ef71
    """
    from chains import runs

    _compared(runs.get(first), runs.get(second), json)


def rerun(
    id: Id,
    model: flags.Model = "starter",
    temperature: flags.Temperature = None,
    json: flags.Json = False,
) -> None:
    """Make a model call again with another model: the same messages, then both answers. Of a run with steps it is the last call.

    Example: chaintune runs rerun 4f2a91c07be35d18 --model ft:starter:local:hobanne:a1b2c3d4
    """
    from chains import load_model
    from chains.rerun import called
    from chains.rerun import rerun as again

    called(id)  # before a model is loaded
    made = again(id, load_model(model, **flags.given(temperature=temperature)))
    _compared(made.before, made.after, json)


def _say(run: "Run", json: bool) -> None:
    show.as_json(short(run)) if json else show.say("\t".join(cell.replace("\t", " ") for cell in line(run)))


def _compared(first: "Run", second: "Run", json: bool) -> None:
    rows = [(name, _about(first)[name], _about(second)[name]) for name in _about(first)]
    prompt = list(_differences(_prompt(first), _prompt(second)))
    answer = list(_differences(_answer(first), _answer(second)))
    if json:
        sides = [{**_about(run), "prompt": _prompt(run), "answer": _answer(run)} for run in (first, second)]
        show.as_json({"first": sides[0], "second": sides[1], "prompt": prompt, "answer": answer})
        return
    show.table(["", "FIRST", "SECOND"], [(name, *map(_cell, values)) for name, *values in rows])
    for title, lines in (("prompt", prompt), ("answer", answer)):
        show.say(f"\n{title}: {'differs' if lines else 'the same'}")
        for one in lines:
            show.say(f"  {one}")


def _about(run: "Run") -> dict[str, Any]:
    from chains.runs.read import last_call

    call = last_call(run) or run
    return {"id": run.id, "chain": run.name, "model": call.model, "sampling": call.sampling, "usage": run.usage,
            "seconds": round(run.ended - run.started, 3), "rating": run.rating, "error": run.error}  # fmt: skip


def _prompt(run: "Run") -> str:
    """Return the prompt of the run's last model call, or where it made none, its inputs."""
    from chains.runs.read import last_call

    call = last_call(run)
    if call is None:
        return first_text(run.inputs)
    return "\n".join(f"{message['role']}: {message['content']}" for message in call.messages or [])


def _answer(run: "Run") -> str:
    return run.answer if run.answer is not None else first_text(run.output)


def _differences(first: str, second: str) -> Iterator[str]:
    """Yield the lines of a unified diff without its heads, none where the two are the same."""
    found = difflib.unified_diff(first.splitlines(), second.splitlines(), lineterm="", n=1)
    return (one for one in islice(found, 2, None) if not one.startswith("@@"))


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return "" if value is None else str(value)
