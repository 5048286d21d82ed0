"""The conversation in the terminal: a line is a question, or a command that begins with a slash."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from apps import bots
from apps.cli import answers, show
from apps.text import text
from chains import runs
from chains.errors import ChaintuneError
from chains.home import home

if TYPE_CHECKING:
    from chains.chatbot import Chatbot

_END = ("/quit", "/exit")
_RATINGS = {"/good": 1, "/bad": -1}


def converse(make: "Callable[[str], Chatbot]", session: str, model: str, language: str, prompt: bool) -> None:
    """Answer line after line until /quit or the end of input; `make` opens a session. With `prompt`, a person sits there: they are
    greeted, Ctrl-C stops one answer, and an error does not end the conversation.
    """
    bot = make(session)
    if prompt:
        show.say(text("chat_hello", language, model=model, session=session))
    for line in _lines(text("chat_you", language) if prompt else ""):
        if line in _END:
            return
        if line == "/new":
            bot = make(bots.new_session())
            show.note(text("chat_new", language, session=bot.session))
            continue
        try:
            _command(bot, line, language) if line.startswith("/") else _answer(bot, line, language)
        except (ChaintuneError, KeyboardInterrupt) as error:
            if not prompt:
                raise
            show.note("\n" + text("chat_stopped", language) if isinstance(error, KeyboardInterrupt) else str(error))


def _answer(bot: "Chatbot", question: str, language: str) -> None:
    answers.stream(bot.stream(question))
    answers.print_rest(bot.last, language)


def _command(bot: "Chatbot", line: str, language: str) -> None:
    command, _, rest = line.partition(" ")
    if command == "/help":
        show.note(text("chat_help", language))
    elif command not in (*_RATINGS, "/fix"):
        show.note(text("chat_unknown", language, command=command))
    elif bot.last is None:
        show.note(text("chat_nothing_to_rate", language))
    elif command == "/fix" and not rest.strip():
        show.note(text("chat_fix_empty", language))
    else:
        runs.feedback(bot.last.id, rating=_RATINGS.get(command), correction=rest.strip() or None)
        show.note(text("chat_kept", language))


def _lines(prompt: str) -> Iterator[str]:
    """Yield what is typed, without empty lines, until the input ends; a terminal keeps its history in a file."""
    with _history() if prompt else contextlib.nullcontext():
        while True:
            try:
                line = input(prompt)
            except (EOFError, KeyboardInterrupt):
                if prompt:
                    print()
                return
            if line.strip():
                yield line.encode("utf-8", "replace").decode().strip()


@contextlib.contextmanager
def _history() -> Iterator[None]:
    try:
        import readline
    except ImportError:  # Windows has none; the line is then edited by the terminal
        yield
        return
    file = home() / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.write_history_file(file)
