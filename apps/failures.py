"""Every way that work can end badly, as a code, one sentence and an exit code. The command line and the chat page both tell it so."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from chains.errors import ChaintuneError
from chains.home import home, machine_error

_SERVERS = (
    "openai",
    "langchain_openai",
    "httpx",
    "httpcore",
)  # the libraries that speak to a model's server, not imported here


@dataclass(frozen=True)
class Failure:
    """What a person or a program is told: `code` is a word that programs may compare."""

    code: str
    message: str
    exit_code: int


def failure(error: BaseException, language: str = "en") -> Failure:
    """Return what `error` means to the person who asked for the work; of a wrong call it is said in `language`."""
    match error:
        case ChaintuneError():
            return Failure(_code(error), one_line(str(error)), error.exit_code)
        case KeyboardInterrupt():
            return Failure("interrupted", "interrupted", 1)
        case SystemExit():
            return Failure("closed", "", error.code if isinstance(error.code, int) else 1)
        case BrokenPipeError():
            return Failure("closed", "", 1)
        case MemoryError():
            return Failure("machine", "memory ran out; close other programs, or use a smaller model or batch", 1)
        case OSError() if error.errno is not None:
            return Failure("machine", _operating_system(error), 1)
    if hasattr(error, "format_message"):  # Typer's own exceptions, whose classes it keeps private
        return _call_wrong(error, language)
    if type(error).__name__ == "Abort":
        return Failure("interrupted", "interrupted", 1)
    what = one_line(f"{type(error).__name__}: {error}")
    if type(error).__module__.partition(".")[0] in _SERVERS:
        return Failure(
            "server",
            f"the model's server did not answer as expected ({what}); check its address, key and model name",
            1,
        )
    return Failure("bug", f"this is a bug in chaintune: {what}; run again with --debug for the traceback", 1)


def one_line(text: str) -> str:
    """Return `text` with its line breaks as spaces."""
    return re.sub(r"\s*\n\s*", " ", text).strip()


def _code(error: ChaintuneError) -> str:
    return type(error).__name__.removesuffix("Error").lower()


def _operating_system(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return str(machine_error(error, Path(error.filename or home())))
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _call_wrong(error: BaseException, language: str) -> Failure:
    if type(error).__name__ == "NoArgsIsHelpError":
        return Failure("help", "", 2)  # Typer has printed the help
    context = getattr(error, "ctx", None)
    message = one_line(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    see = f"{context.command_path if context else 'chaintune'} --help"
    if language == "ko":
        from apps.wrong_calls import korean  # read only where it is said

        said = f"{korean(message)}. 도움말: {see}"
    else:
        said = f"{message}{'' if message.endswith('?') else '.'} See: {see}"
    return Failure("usage", said, getattr(error, "exit_code", 2))
