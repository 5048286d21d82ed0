"""`chaintune data`: making, checking and cutting training data. A file here holds one command; this one gives each its name."""

import typer

from apps.cli.data import (
    chat,
    check,
    convert,
    dialog,
    from_docs,
    from_runs,
    instruct,
    label,
    prepare,
    rank,
    rows,
    split,
)

app = typer.Typer(no_args_is_help=True, help="Make, check, convert and split training data.")

for name, function in (
    ("chat", chat.chat),
    ("from-runs", from_runs.from_runs),
    ("prepare", prepare.prepare),
    ("check", check.check),
    ("stats", rows.stats),
    ("head", rows.head),
    ("sample", rows.sample),
    ("dedupe", rows.dedupe),
    ("mix", rows.mix),
    ("convert", convert.convert),
    ("split", split.split),
    ("from-docs", from_docs.from_docs),
    ("instruct", instruct.instruct),
    ("dialog", dialog.dialog),
    ("rank", rank.rank),
    ("label", label.label),
):
    app.command(name)(function)
