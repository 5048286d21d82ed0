"""`chaintune search`: the passages that a library finds for some words."""

from contextlib import closing
from typing import Annotated

import typer

from apps import bots
from apps.cli import answers, flags, show
from apps.text import language


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    k: flags.K = 6,
    mode: flags.Mode = "hybrid",
    mmr: Annotated[
        float | None,
        typer.Option(
            "--mmr", min=0.0, max=1.0, help="Passages that differ: 1 is relevance alone, 0.5 the usual balance."
        ),
    ] = None,
    parents: Annotated[
        bool, typer.Option("--parents", help="Show what is around each passage under its heading.")
    ] = False,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Show the passages that a library finds, best first.

    Example: chaintune search "하프타임" --library ./kb --k 3
    """
    words = language(lang)
    bots.check_mode(mode)
    with closing(bots.open_library(library, embeddings)) as opened:
        found = opened.search(query, k=k, mode=mode, mmr=mmr, parents=parents)
    if json:
        show.as_json(
            [
                {
                    "text": passage.text,
                    "score": passage.score,
                    "scores": passage.scores,
                    "why": passage.why,
                    **passage.metadata,
                }
                for passage in found
            ]
        )
        return
    for number, passage in enumerate(found, 1):
        about = passage.metadata
        where = answers.place(about["source"], about.get("page"), about.get("heading"), words)
        show.say(f"[{number}] {where} ({passage.score:.2f}; {passage.why})")
        show.say("    " + passage.text.replace("\n", "\n    "))
