"""`chaintune data prepare`: a table of prompts and completions made ready, question by question, as openai 0.28's tool did it."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.data.prepare_words import say
from apps.text import language
from chains.errors import UsageError
from tuning.prepare import CLASSIFICATION, Analysis, Offer, Written, analyse, task_type, write

Ask = Callable[[str], bool]
Say = Callable[..., str]


def prepare(
    file: Annotated[
        Path, typer.Argument(help="CSV, TSV, XLSX, JSON, JSONL or TXT, with the columns prompt and completion.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", "--quiet", "-q", help="Take every suggestion without asking.")
    ] = False,
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator", help='Ends every prompt, in place of the one chosen. \\n is a line break. Example: " ->"'
        ),
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--stop", help='Ends every completion, in place of the one chosen. Example: " END"')
    ] = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Check a table of prompts and completions, mend it question by question, and write NAME_prepared.jsonl beside it.

    The file is, byte for byte, what `openai tools fine_tunes.prepare_data` of openai 0.28 wrote.

    Example: chaintune data prepare prepared_data.csv
    """
    tongue = language(lang)

    def words(code: str, **facts: Any) -> str:
        return say(code, tongue, **facts)

    analysis = analyse(file, _breaks(separator), _breaks(stop))
    _show(analysis, words)
    ask: Ask = _answered if yes else _asked
    taken: list[str] = []

    def answer(offer: Offer) -> bool:
        if not ask(words(offer.note.code, **offer.note.facts)):
            return False
        taken.append(offer.note.code)
        return True

    examples, changed = analysis.apply(answer)
    split = task_type(examples) == CLASSIFICATION and ask(words("split"))
    written = None
    if (changed or split) and ask(words("proceed")):
        written = write(examples, file, split)
    _finish(analysis, written, changed or split, words)
    if json:
        show.as_json(_report(analysis, written, taken))


def _breaks(text: str | None) -> str | None:
    if text == "":
        raise UsageError("--separator and --stop cannot be empty; leave the option out, or answer n to the question")
    return text.replace("\\n", "\n") if text else None


def _show(analysis: Analysis, words: Say) -> None:
    for note in analysis.seen:
        show.say(f"- {words(note.code, **note.facts)}")
    for note in analysis.necessary:
        show.say(f"- {words('done_anyway')} {words(note.code, **note.facts)}")


def _asked(question: str) -> bool:
    """Return the answer of the person; only n is no."""
    try:
        return input(f"{show.plain(question)} [Y/n]: ").strip().lower() != "n"
    except EOFError as error:
        raise UsageError(
            f"the question {question!r} has no answer; answer Y or n at a terminal, or take every suggestion with --yes"
        ) from error


def _answered(question: str) -> bool:
    show.say(f"{question} [Y/n]: Y")
    return True


def _finish(analysis: Analysis, written: Written | None, wanted: bool, words: Say) -> None:
    if wanted and written is None:
        show.say(words("not_written"))
        return
    if written is None:
        show.say(words("nothing_to_do"))
    else:
        for file, rows in zip(written.files, written.rows, strict=True):
            show.say(words("wrote", file=str(file), rows=rows))
        if written.separator:
            show.say(words("end_prompts", separator=written.separator))
        if written.stop:
            show.say(words("stop_at", stop=written.stop))
    show.say(words("next"))
    for command in _next(written.files if written else [analysis.path]):
        show.say(f"  {command}")


def _next(files: list[Path]) -> list[str]:
    """Return the commands that make chat rows of the files and train on them."""
    chats = [file.with_name(f"{file.stem}_chat.jsonl") for file in files]
    convert = [
        f"chaintune data convert {_quoted(old)} {_quoted(new)} --to chat" for old, new in zip(files, chats, strict=True)
    ]
    validation = f" --validation {_quoted(chats[1])}" if len(chats) > 1 else ""
    return [*convert, f"chaintune tune sft --model starter --data {_quoted(chats[0])}{validation} --suffix NAME"]


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _report(analysis: Analysis, written: Written | None, taken: list[str]) -> dict[str, Any]:
    return {
        "seen": [{"code": note.code, **note.facts} for note in analysis.seen],
        "necessary": [{"code": note.code, **note.facts} for note in analysis.necessary],
        "taken": taken,
        "files": [str(file) for file in written.files] if written else [],
        "rows": written.rows if written else [],
        "separator": written.separator if written else None,
        "stop": written.stop if written else None,
        "classes": written.classes if written else None,
        "next": _next(written.files if written else [analysis.path]),
    }
