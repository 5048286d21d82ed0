"""`chaintune index`: documents into a library; only what changed is read again."""

from contextlib import closing
from typing import Annotated

import typer

from apps import bots
from apps.cli import flags, show


def index(
    documents: Annotated[
        list[str], typer.Argument(help="Documents: files, folders, or patterns in quotes.", metavar="PATH...")
    ],
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    json: flags.Json = False,
) -> None:
    """Bring a library in line with documents. Ends with 1 where a file could not be read.

    Example: chaintune index docs/ notes.md --library ./kb
    """
    folder = bots.named(library)
    with closing(bots.make_library(folder, embeddings)) as opened, show.progress("index") as advance:
        reports = [opened.sync(path, progress=advance) for path in documents]
        stats = opened.stats()
    counts = {
        name: sum(getattr(report, name) for report in reports) for name in ("added", "updated", "deleted", "unchanged")
    }
    failed = [file for report in reports for file in report.failed]
    if json:
        show.as_json({"library": str(folder), **counts, "failed": failed, "stats": stats})
    else:
        for path, reason in failed:
            show.note(f"not read: {path}: {reason}")
        show.say(
            f"{folder}: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + f", {len(failed)} failed"
        )
    if failed:
        raise typer.Exit(1)
