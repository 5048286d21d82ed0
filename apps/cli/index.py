"""`chaintune index`: documents into a library; only what changed is read again."""

from contextlib import closing
from functools import partial
from typing import Annotated, Any

import typer

from apps import bots
from apps.cli import flags, show
from apps.text import language, text
from chains.errors import UsageError

_COUNTS = {
    "added": "index_added",
    "updated": "index_updated",
    "deleted": "index_deleted",
    "unchanged": "index_unchanged",
}


def index(
    documents: Annotated[
        list[str] | None,
        typer.Argument(help="Documents: files, folders, patterns in quotes, or URLs.", metavar="PATH..."),
    ] = None,
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    allow_url: Annotated[bool, typer.Option("--allow-url", help="Fetch what is named by a URL.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that read and embed.")] = 1,
    ray: Annotated[
        int,
        typer.Option(
            "--ray", min=0, max=4096, help="Workers of a Ray cluster that embed into the Chroma server; 0: no cluster."
        ),
    ] = 0,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Computing time that reading one file may take.")
    ] = 8,
    chroma: Annotated[
        str | None,
        typer.Option("--chroma", help="URL of a Chroma server for the vectors; the library remembers it."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images", help="A CLIP model, folder or hub id, by which pictures are found; the library remembers it."
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare vectors and passages, and mend what differs.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Split and embed everything in the library again.")
    ] = False,
    json: flags.Json = False,
) -> None:
    """Bring a library in line with documents. Ends with 1 where a file could not be read.

    Example: chaintune index docs/ notes.md --library ./kb
    """
    folder = bots.named(library)
    if not documents and not verify and not rebuild:
        raise UsageError("no document was named; give files, folders, patterns or URLs, or --verify or --rebuild")
    if not documents:
        bots.check_library(folder)
    with closing(bots.make_library(folder, embeddings, chroma, images)) as opened, show.progress("index") as advance:
        found: dict[str, Any] = {"library": str(folder)}
        if rebuild:
            opened.rebuild(progress=advance, workers=workers)
        if documents:
            found |= _synced(opened, documents, allow_url, workers, ray, seconds, advance)
        if verify:
            found["mended"] = opened.verify()
        found["stats"] = opened.stats()
    if json:
        show.as_json(found)
    else:
        _say(found)
    if found.get("failed"):
        raise typer.Exit(1)


def _synced(
    opened: Any, documents: list[str], allow_url: bool, workers: int, ray: int, seconds: float, advance: show.Advance
) -> dict[str, Any]:
    """Sync, and return what was done."""
    from retrieval import Limits

    limits = Limits(cpu_s=seconds, wall_s=max(30, 3 * seconds))
    report = opened.sync(documents, progress=advance, urls=allow_url, workers=workers, ray=ray, limits=limits)
    return {name: getattr(report, name) for name in _COUNTS} | {
        "failed": report.failed,
        "skipped": report.skipped,
    }


def _say(found: dict[str, Any]) -> None:
    say = partial(text, language=language())
    for path, reason in found.get("failed", ()):
        show.note(say("index_not_read", path=path, reason=reason))
    if found.get("skipped"):
        show.note(say("index_skipped", count=found["skipped"]))
    words = [say(key, count=found[name]) for name, key in _COUNTS.items() if name in found]
    words += [say("index_failed", count=len(found["failed"]))] if "failed" in found else []
    words += [say("index_mended", count=found["mended"])] if "mended" in found else []
    words = words or [say("index_again", count=found["stats"]["passages"])]
    show.say(f"{found['library']}: {', '.join(words)}")
