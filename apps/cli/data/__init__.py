"""`chaintune data`: making, checking and cutting training data. A file here holds one command; this one gives each its name."""

import typer

from apps.cli.data import chat, check, convert, dialog, from_docs, instruct, label, rank, split

app = typer.Typer(no_args_is_help=True, help="Make, check, convert and split training data.")

for name, function in (
    ("chat", chat.chat),
    ("check", check.check),
    ("convert", convert.convert),
    ("split", split.split),
    ("from-docs", from_docs.from_docs),
    ("instruct", instruct.instruct),
    ("dialog", dialog.dialog),
    ("rank", rank.rank),
    ("label", label.label),
):
    app.command(name)(function)
