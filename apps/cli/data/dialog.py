"""`chaintune data dialog`: a person plays both sides of a conversation, with the model's suggestions; or the model does, with --auto."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.data import making
from apps.text import language, text
from chains.errors import ChaintuneError, ModelError

if TYPE_CHECKING:
    from tuning.generate.ask import Asker
    from tuning.generate.dialog import Scene, Writing


def dialog(
    out: making.Out,
    model: flags.Model = "starter",
    auto: Annotated[
        int, typer.Option("--auto", min=0, help="Let the model write this many dialogs, without a person.")
    ] = 0,
    exchanges: Annotated[
        int, typer.Option("--exchanges", min=1, max=50, help="With --auto: questions and answers in a dialog.")
    ] = 3,
    topic: Annotated[str | None, typer.Option("--topic", help="What the user's side talks about.")] = None,
    system: flags.System = None,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, max=5.0, help="Of the suggestions.")] = 1.0,
    seed: making.Seed = 0,
    at_once: making.AtOnce = 32,
    price_in: making.PriceIn = 0.0,
    price_out: making.PriceOut = 0.0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Write conversations as chat rows: the model suggests every turn, the user's too, and a person takes it, edits it or writes another.

    Enter takes the suggestion; /edit, /again, /undo, /done and /quit do the rest. The same command goes on where you stopped.

    Example: chaintune data dialog --model starter --out dialogs.jsonl
    """
    from tuning.generate import dialog as maker
    from tuning.generate.journal import Journal

    words = language(lang)
    scene = maker.Scene(words, system, topic)
    work = making.Making(words, "dialog", price_in, price_out)
    settings: dict[str, Any] = {"maker": "dialog", "model": model, "system": system, "topic": topic, "language": words}
    settings |= {"exchanges": exchanges, "auto": True, "seed": seed} if auto else {"auto": False}
    with Journal(out, settings) as journal:
        asker = work.asker(model)
        if auto:
            with work.bar(out) as advance:
                made = maker.alone(
                    asker, journal, auto, scene, exchanges=exchanges, seed=seed, at_once=at_once, temperature=temperature,
                    advance=advance,
                )  # fmt: skip
            if not made.dialogs:
                raise ModelError(f"{model} wrote no whole dialog in {made.tried} tries; use a larger model")
            journal.finish(scene.row(turns) for turns in made.dialogs)
            work.report(out, len(made.dialogs), auto, made.dropped, asker, json)
            return
        writing = maker.Writing(journal)
        try:
            _write(writing, asker, scene, temperature, words)
        finally:
            if writing.dialogs:
                journal.publish(scene.row(turns) for turns in writing.dialogs)
    _report(out, writing, asker, words, json)


def _report(out: object, writing: "Writing", asker: "Asker", words: str, json: bool) -> None:
    if json:
        facts = {"file": str(out), "rows": len(writing.dialogs), "open_turns": len(writing.open)}
        show.as_json({**facts, "usage": asker.usage.as_json()})
        return
    show.say(text("dialog_result", words, file=out, rows=len(writing.dialogs), usage=asker.usage))
    if writing.open:
        show.note(text("dialog_left", words, turns=len(writing.open)))


def _write(writing: "Writing", asker: "Asker", scene: "Scene", temperature: float, words: str) -> None:
    """Take turn after turn from the person until /quit or the end of input."""
    from tuning.generate.dialog import next_role

    show.note(text("dialog_help", words))
    while True:
        suggestion = _suggestion(writing, asker, scene, temperature, words)
        role = next_role(writing.open)
        number = len(writing.dialogs) + 1
        show.note(text("dialog_turn", words, number=number, role=role, suggestion=suggestion))
        while True:  # until the turn is another one, or another suggestion is wanted
            line = _line(f"{role}> ")
            if line is None or line == "/quit":
                return
            if line == "/edit":
                edited = _line(f"{role}> ", suggestion)
                if edited is None:
                    return
                line, by = edited, "model" if edited == suggestion else "edited"
            elif line == "" and suggestion:
                line, by = suggestion, "model"
            elif line.startswith("/") and not line.startswith("//"):
                if _command(line, writing, words):
                    break
                continue
            else:
                line, by = line.removeprefix("/") if line.startswith("//") else line, "person"
            if line.strip():
                writing.say(line.strip(), by)
                break
            show.note(text("dialog_empty", words))


def _suggestion(writing: "Writing", asker: "Asker", scene: "Scene", temperature: float, words: str) -> str:
    """Return the model's word for the next turn, or '' where it has none, which is said."""
    from tuning.generate.dialog import suggest

    try:
        return suggest(asker, writing.open, scene, temperature)
    except ChaintuneError as error:
        show.note(text("dialog_none", words, error=error))
        return ""


def _command(line: str, writing: "Writing", words: str) -> bool:
    """Do what a line with a slash says; return whether another suggestion is wanted."""
    if line == "/again":
        return True
    if line == "/undo":
        done = writing.undo()
        if not done:
            show.note(text("dialog_nothing", words))
        return done
    if line == "/done":
        closed = writing.close()
        show.note(text("dialog_closed", words, number=len(writing.dialogs)) if closed else text("dialog_open", words))
        return closed
    show.note(text("dialog_help", words))
    return False


def _line(prompt: str, start: str = "") -> str | None:
    """Return the line that is typed, or None at the end of input; it begins with `start`, whose line breaks stand as \\n meanwhile."""
    with _prefilled(start.replace("\\", "\\\\").replace("\n", "\\n")):
        try:
            line = input(prompt if sys.stdin.isatty() else "")
        except EOFError:
            return None
    line = line.encode("utf-8", "replace").decode().strip()
    return line.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\") if start else line


@contextlib.contextmanager
def _prefilled(start: str) -> Iterator[None]:
    """While entered, the next line typed begins with `start`."""
    try:
        import readline
    except ImportError:  # Windows has none; the line is then typed anew
        yield
        return
    readline.set_startup_hook((lambda: readline.insert_text(start)) if start else None)
    try:
        yield
    finally:
        readline.set_startup_hook(None)
