"""The command line, `chaintune`: `main` runs one command and turns every failure into one sentence and an exit code.

0: done; 1: the work failed; 2: the call was wrong. With `--json`, stdout carries one JSON value, `{"error": …}` included.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from apps.cli import show, tongue
from apps.failures import Failure, failure

__all__ = ["main"]

QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""The libraries report to nobody, unless a person set it so."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's arguments) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags, values = arguments[:end], arguments[end:]
    as_json, debug, words = "--json" in flags, "--debug" in flags, tongue.of(flags)
    if debug:
        flags.remove("--debug")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Korean shows '?' instead of ending the command
    follows = follower()
    with show.unheard() if follows else nullcontext(), show.results_only() if as_json else nullcontext():
        try:
            return _run([*tongue.for_help(flags), *values], words)
        except BaseException as error:
            failed = failure(error, words)
            if debug and failed.code not in ("help", "closed"):
                raise
            _tell(failed, as_json)
            if follows and failed.exit_code == 1:  # what is its own; a wrong call is the first process's to tell
                print(f"process {follows}: {failed.message}", file=sys.__stderr__)
            return failed.exit_code


def follower() -> str:
    """Return this process's number where a launcher started it beside a first one, which does the talking; '' otherwise."""
    rank = os.environ.get("RANK", "0") if int(os.environ.get("WORLD_SIZE", "1")) > 1 else "0"
    return "" if rank == "0" else rank


def _run(arguments: list[str], words: str) -> int:
    from typer.main import get_command

    from apps.cli.app import app  # after the environment is set: the commands read it

    command = get_command(app)
    if words == "ko":
        from apps.cli import korean

        korean.speak(command)
    code = command(arguments, prog_name="chaintune", standalone_mode=False)
    if code == 130:  # Typer's number for Ctrl-C
        raise KeyboardInterrupt
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _tell(failed: Failure, as_json: bool) -> None:
    if failed.code == "closed":
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]  # nobody reads; Python flushes at exit
    elif as_json:
        show.as_json({"error": {"code": failed.code, "message": failed.message}})
    elif failed.message:
        print(failed.message, file=sys.stderr)
