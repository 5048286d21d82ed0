"""The language that a call is answered in before its command runs: its help, and what is wrong with the call."""

from collections.abc import Sequence

from apps.text import language
from chains.errors import UsageError


def of(flags: Sequence[str]) -> str:
    """Return `en` or `ko`: what `--lang` in `flags` says, else CHAINTUNE_LANG, else the locale; `en` where that is unknown."""
    try:
        return language(_parted(flags)[0])
    except UsageError:
        return "en"  # a command that runs refuses it


def for_help(flags: Sequence[str]) -> list[str]:
    """Return `flags`, without `--lang` where they ask for help: every help has both languages, not every command the flag."""
    _, others = _parted(flags)
    return others if "--help" in others or "-h" in others else list(flags)


def _parted(flags: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return what the last `--lang` of `flags` says, and the flags without any."""
    said, others, words = None, [], iter(flags)
    for word in words:
        if word == "--lang":
            said = next(words, None)
        elif word.startswith("--lang="):
            said = word.removeprefix("--lang=")
        else:
            others.append(word)
    return said, others
