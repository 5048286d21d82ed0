"""`chaintune runs`: what chains did on this machine, and the training data in it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags, runs_beside, show
from apps.cli.run_lines import COLUMNS, line, short, thumb
from chains.errors import UsageError

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, follow and compare what ran; make a call again; make training data or traces of it.",
)
_FORMATS = {"chat": "good", "otel": "all"}  # with the feedback that each begins with
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
        show.as_json([short(run) for run in found])
    elif found:
        show.table(COLUMNS, [line(run) for run in found])
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
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    feedback: Annotated[
        str | None,
        typer.Option(
            "--feedback", help="good (rated up, or corrected), bad, or all. Default: good for chat, all for otel."
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", help="chat (JSONL to tune a model with) or otel (OpenTelemetry traces, GenAI names)."),
    ] = "chat",
    content: Annotated[bool, typer.Option("--content", help="With otel: prompts and answers, too.")] = False,
    json: flags.Json = False,
) -> None:
    """Write runs as chat JSONL, of what a person rated or corrected, or as OpenTelemetry traces.

    Example: chaintune runs export --out liked.jsonl

    Example: chaintune runs export --format otel --out spans.jsonl
    """
    from chains import runs

    if format not in _FORMATS:
        raise UsageError(f"--format {format!r} is unknown; use {' or '.join(_FORMATS)}")
    if content and format != "otel":
        raise UsageError("--content belongs to --format otel; chat rows are nothing but content")
    which = feedback or _FORMATS[format]
    if which not in _FEEDBACK:
        raise UsageError(f"--feedback {which!r} is unknown; use good, bad or all")
    if format == "otel":
        rows = runs.to_spans(_FEEDBACK[which], content, out)
    else:
        rows = runs.to_dataset(feedback=_FEEDBACK[which], path=out)
    show.as_json({"file": str(out), "rows": len(rows)}) if json else show.say(f"{out}: {len(rows)} rows")


app.command("tail")(runs_beside.tail)
app.command("compare")(runs_beside.compare)
app.command("rerun")(runs_beside.rerun)


def _print_tree(run: Any, depth: int) -> None:
    indent = "  " * depth
    show.say(f"{indent}{run.name} {run.id} ({run.ended - run.started:.2f} s) {thumb(run.rating)}".rstrip())
    for message in run.messages or []:
        show.say(f"{indent}  {message['role']}: {message['content']}")
    for label, value in (("model", run.model), ("answer", run.answer), ("usage", run.usage), ("error", run.error),
                         ("correction", run.correction), ("comment", run.comment)):  # fmt: skip
        if value:
            show.say(f"{indent}  {label}: {value}")
    for step in run.steps:
        _print_tree(step, depth + 1)
