"""One key at a time from the terminal, as a person presses it, Korean keyboards included."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chains.errors import UsageError

_KOREAN = dict(
    zip("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡ", "qwertyuiopasdfghjklzxcvbnm", strict=True)
)  # the two-set layout
_ESCAPE = "\x1b"
_END = "\x04"  # Ctrl-D


@contextmanager
def keys() -> Iterator[Iterator[str]]:
    """Yield the keys that are pressed, each once, not shown on the screen; Enter is a line break, Ctrl-C raises KeyboardInterrupt.

    A letter typed on the Korean layout is the Latin one on the same key. Arrows and the like are passed over. The keys end with the input.
    Raises UsageError where stdin is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("this needs a person at a terminal, and stdin is none; run it in a terminal")
    try:
        import termios
        import tty
    except ImportError as error:
        raise UsageError("this reads single keys, which works on Linux and macOS only; on Windows use WSL") from error
    place = sys.stdin.fileno()
    before = termios.tcgetattr(place)
    try:
        tty.setcbreak(place)
        yield _pressed(place)
    finally:
        termios.tcsetattr(place, termios.TCSADRAIN, before)


def _pressed(place: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while raw := os.read(place, 1024):
        text, ended, _ = decoder.decode(raw).partition(_END)
        yield from _letters(text)
        if ended:
            return


def _letters(text: str) -> Iterator[str]:
    """Yield the keys of what came at once; an escape takes the rest of its sequence with it."""
    while text:
        letter, text = text[0], text[1:]
        if letter == _ESCAPE:
            text = text[1:].lstrip("0123456789;")[1:] if text[:1] in ("[", "O") else text
        else:
            yield _KOREAN.get(letter, "\n" if letter == "\r" else letter)
