"""Korean help: `speak` makes commands show theirs in Korean. What is shown is looked up at that moment, and not before."""

from typing import Any

import typer

_HelpFormatter: Any = typer.Context.formatter_class  # Typer keeps the module of this class private


class _Formatter(_HelpFormatter):
    """The usage line, which begins with a word of ours."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        from apps.cli.help_ko.around import WORDS

        super().write_usage(prog, args, prefix or WORDS["Usage: "])


class KoreanContext(typer.Context):
    """A command's context, whose help is in Korean."""

    formatter_class = _Formatter

    def get_help(self) -> str:
        """Print the help, as Typer does, and return what it returns; the command's texts are Korean from then on."""
        from apps.cli.help_ko.around import headings

        with headings():
            _translate(self.command, self)
            return super().get_help()


def speak(command: Any) -> None:
    """Let `command`, and those under it, show their help in Korean."""
    command.context_class = KoreanContext
    for under in _under(command):
        speak(under)


def _under(command: Any) -> list[Any]:
    return list(getattr(command, "commands", {}).values())


def _translate(command: Any, context: typer.Context) -> None:
    """Put the Korean texts in place of those that the help of `command` shows."""
    from apps.cli.help_ko import of
    from apps.cli.help_ko.around import WORDS

    for shown in (command, *command.get_params(context), *_under(command)):
        if shown.help:
            shown.help = of(shown.help)
    for shown in (command, *_under(command)):
        for name in ("rich_help_panel", "options_metavar", "subcommand_metavar"):
            if isinstance(word := getattr(shown, name, None), str):
                setattr(shown, name, WORDS.get(word, word))
