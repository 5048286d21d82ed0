"""`chaintune search`: the passages that a library finds for some words."""

from contextlib import closing
from typing import Annotated, Any

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
    rerank: flags.Rerank = None,
    keyword_weight: flags.KeywordWeight = None,
    expand: flags.Expand = None,
    model: flags.Model = "starter",
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Show the passages that a library finds, best first.

    A model is used for --expand alone.

    Example: chaintune search "하프타임" --library ./kb --k 3
    """
    words = language(lang)
    bots.check_expansion(expand)
    with closing(bots.open_library(library, embeddings)) as opened:
        finder = bots.retriever(opened, k, mode, rerank, keyword_weight, mmr=mmr, parents=parents)
        found = _passages(finder, query, expand, model, k)
    if json:
        show.as_json([{"text": passage.page_content, **passage.metadata} for passage in found])
        return
    for number, passage in enumerate(found, 1):
        about = passage.metadata
        where = answers.place(about["source"], about.get("page"), about.get("heading"), words)
        show.say(f"[{number}] {where} ({about['score']:.2f}; {about['why']})")
        show.say("    " + passage.page_content.replace("\n", "\n    "))


def _passages(finder: Any, query: str, expand: str | None, model: str, k: int) -> Any:
    """Return what is found; no model is loaded where none is asked."""
    if expand is None:
        return finder.invoke(query)
    from chains import load_model

    return bots.expanded(finder, expand, load_model(model), k).invoke(query)["passages"]
