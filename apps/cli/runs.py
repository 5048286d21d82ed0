"""`chaintune runs`: what chains did on this machine, and the training data in it."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags, show
from chains.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="List and show what ran; make training data of it.")
_FEEDBACK = {"good": 1, "bad": -1, "all": None}


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 20,
    json: flags.Json = False,
) -> None:
    """List the latest runs.

    Example: chaintune runs list --limit 5
    """
    from chains import runs

    found = runs.recent(limit)
    if json:
        show.as_json([_short(run) for run in found])
    elif found:
        show.table(["ID", "WHEN", "CHAIN", "SESSION", "RATING", "ASKED", "OUTPUT"], [
            [run.id, time.strftime("%m-%d %H:%M", time.localtime(run.started)), run.name, run.session or "", _thumb(run.rating),
             _cut(_first_text(run.inputs)), _cut(f"error: {run.error}" if run.error else _first_text(run.output))]
            for run in found])  # fmt: skip
    else:
        show.say("no runs yet; `chaintune chat` makes some")


@app.command("show")
def show_run(
    id: Annotated[str, typer.Argument(help="The run's id, as `runs list` shows it.")], json: flags.Json = False
) -> None:
    """Show one run with its steps: the exact prompt, the answer, the tokens.

    Example: chaintune runs show 4f2a91c07be35d18
    """
    from chains import runs

    run = runs.get(id)
    show.as_json(asdict(run)) if json else _print_tree(run, 0)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The chat JSONL file to write.")],
    feedback: Annotated[str, typer.Option("--feedback", help="good (rated up, or corrected), bad, or all.")] = "good",
    json: flags.Json = False,
) -> None:
    """Make chat JSONL of runs that a person rated or corrected, to tune a model with.

    Example: chaintune runs export --out liked.jsonl
    """
    from chains import runs

    if feedback not in _FEEDBACK:
        raise UsageError(f"--feedback {feedback!r} is unknown; use good, bad or all")
    rows = runs.to_dataset(feedback=_FEEDBACK[feedback], path=out)
    show.as_json({"file": str(out), "rows": len(rows)}) if json else show.say(f"{out}: {len(rows)} rows")


def _short(run: Any) -> dict[str, Any]:
    keep = (
        "id",
        "session",
        "name",
        "inputs",
        "output",
        "model",
        "usage",
        "started",
        "ended",
        "error",
        "rating",
        "correction",
    )
    return {name: getattr(run, name) for name in keep}


def _print_tree(run: Any, depth: int) -> None:
    indent = "  " * depth
    show.say(f"{indent}{run.name} {run.id} ({run.ended - run.started:.2f} s) {_thumb(run.rating)}".rstrip())
    for message in run.messages or []:
        show.say(f"{indent}  {message['role']}: {message['content']}")
    for label, value in (("model", run.model), ("answer", run.answer), ("usage", run.usage), ("error", run.error),
                         ("correction", run.correction), ("comment", run.comment)):  # fmt: skip
        if value:
            show.say(f"{indent}  {label}: {value}")
    for step in run.steps:
        _print_tree(step, depth + 1)


def _thumb(rating: int | None) -> str:
    return {1: "+1", -1: "-1"}.get(rating or 0, "")


def _first_text(value: Any) -> str:
    if isinstance(value, dict):
        value = next((item for item in value.values() if isinstance(item, str)), value)
    return "" if value is None else str(value)


def _cut(text: str, most: int = 40) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
