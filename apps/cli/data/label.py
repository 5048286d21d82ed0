"""`chaintune data label`: a person ranks answers at the terminal, a key an answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli import flags, show
from apps.cli.data import making
from apps.cli.keys import keys
from apps.text import language, text
from chains.errors import UsageError

if TYPE_CHECKING:
    from tuning.generate.label import Labeling, Sheet


def label(
    file: Annotated[Path, typer.Argument(help="Answers to rank, as `data rank` makes them.")],
    out: making.Out,
    seed: making.Seed = 0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Rank answers by keyboard: 1 to 9 from the best on, = for a tie, u to take a key back, s to skip, b to go back, q to stop.

    The answers stand in a drawn order. Every row is kept as soon as it is decided, and the same command goes on from there.

    Example: chaintune data label unranked.jsonl --out rankings.jsonl
    """
    from tuning import formats
    from tuning.generate.journal import Journal
    from tuning.generate.label import Labeling
    from tuning.generate.rank import read_unranked

    words = language(lang)
    rows = read_unranked([(f"{file}:{line}", row) for line, row in formats.read(file)])
    if not rows:
        raise UsageError(f"{file} holds no rows; make some with: chaintune data rank")
    with (
        keys() as pressed,
        Journal(out, {"maker": "label", "seed": seed, "rows": making.fingerprint(map(repr, rows))}) as journal,
    ):
        labeling = Labeling(rows, journal, seed)
        try:
            finished = _rank(labeling, pressed, words)
        finally:  # an interrupt too leaves what is decided as a file to work with
            ranked = labeling.ranked()
            if ranked:
                journal.publish(ranked)
        if finished and ranked:
            journal.finish(ranked)
    facts = {"rows": len(ranked), "skipped": labeling.skipped, "tied": labeling.done - labeling.skipped - len(ranked)}
    if json:
        show.as_json({"file": str(out), **facts, "decided": labeling.done, "of": len(rows), "finished": finished})
        return
    show.say(text("label_result", words, file=out, **facts))
    if not finished:
        show.note(text("label_left", words, done=labeling.done, total=len(rows)))


def _rank(labeling: "Labeling", pressed: Iterator[str], words: str) -> bool:
    """Let the person decide row after row; return whether they came to the end."""
    show.note(text("label_help", words))
    while True:
        sheet = labeling.sheet()
        if sheet is None:
            show.note(text("label_end", words))
        else:
            _show(sheet, labeling.done + 1, len(labeling.rows), words)
        match _key_of(sheet, pressed, words):
            case "finish":
                return True
            case "decide" if sheet:
                labeling.decide(sheet.ranks())
            case "skip":
                labeling.decide(None)
            case "back":
                if not labeling.undo():
                    show.note(text("label_no", words))
            case "quit":
                return False


def _key_of(sheet: "Sheet | None", pressed: Iterator[str], words: str) -> str:
    """Take keys until one ends this row, and return what it asks for."""
    for key in pressed:
        if key == "q":
            return "quit"
        if key == "b":
            return "back"
        if key == "?":
            show.note(text("label_help", words))
        elif sheet is None:
            if key == "\n":
                return "finish"
        elif key == "s":
            return "skip"
        elif key == "\n" and sheet.complete:
            return "decide"
        elif _changed(sheet, key):
            show.note(text("label_order", words, order=_order(sheet)))
            if sheet.complete:
                show.note(text("label_confirm", words))
        elif key in ("u", "\x7f", "\b"):
            return "back"  # nothing is placed: the key to take back is the row before
        else:
            show.note(text("label_no", words))
    return "quit"


def _changed(sheet: "Sheet", key: str) -> bool:
    """Do what the key says to the order; return whether it changed."""
    if key.isascii() and key.isdigit():
        return sheet.put(int(key))
    if key == "=":
        return sheet.tie()
    return key in ("u", "\x7f", "\b") and sheet.take_back()


def _order(sheet: "Sheet") -> str:
    return " > ".join(" = ".join(map(str, group)) for group in sheet.groups) + (" = …" if sheet.tying else "")


def _show(sheet: "Sheet", number: int, total: int, words: str) -> None:
    show.note(f"\n── {text('label_row', words, number=number, total=total)} ──")
    for message in sheet.prompt:
        show.note(f"{message['role']}: {message['content']}")
    for place, answer in enumerate(sheet.shown, 1):
        show.note(f"\n[{place}] {answer}")
    show.note("")
