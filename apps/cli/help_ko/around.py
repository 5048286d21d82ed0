"""What stands around the texts of a help, in Korean: the words of the commands' panels, and Typer's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text
from typer import rich_utils

WORDS = {
    # the panels of `chaintune --help`
    "Start": "시작",
    "Chat": "대화",
    "Documents": "문서",
    "Tune": "튜닝",
    "Keep": "보관",
    # the usage line
    "Usage: ": "사용법: ",
    "[OPTIONS]": "[옵션]",
    "COMMAND [ARGS]...": "명령 [인수]...",
}


class _Folded(rich_utils.OptionHighlighter):
    """Typer's highlighter, whose texts fold.

    Rich takes the space at a line's end for part of it where letters are two cells wide, and would write '…' over the last word.
    """

    def highlight(self, text: Text) -> None:
        super().highlight(text)
        text.overflow = "fold"


CONSTANTS = {
    "ARGUMENTS_PANEL_TITLE": "인수",
    "OPTIONS_PANEL_TITLE": "옵션",
    "COMMANDS_PANEL_TITLE": "명령",
    "DEFAULT_STRING": "[기본값: {}]",
    "ENVVAR_STRING": "[환경 변수: {}]",
    "REQUIRED_LONG_STRING": "[필수]",
    "highlighter": _Folded(),
}
"""Names in `typer.rich_utils`, and what they are while Korean help is shown."""


@contextmanager
def headings() -> Iterator[None]:
    """Hold Typer's own words in Korean, and put them back."""
    english = {name: getattr(rich_utils, name) for name in CONSTANTS}
    try:
        _set(CONSTANTS)
        yield
    finally:
        _set(english)


def _set(constants: dict[str, object]) -> None:
    for name, value in constants.items():
        setattr(rich_utils, name, value)
