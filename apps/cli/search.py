"""`chaintune search`: the passages that a library finds for some words."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from apps import bots
from apps.cli import answers, flags, show
from apps.text import language
from chains.errors import UsageError


def search(
    query: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Look for pictures like the one in this file, instead of for words.")
    ] = None,
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
    """Show the passages that a library finds, best first, and then the pictures, where it holds any.

    A model is used for --expand alone.

    Example: chaintune search "하프타임" --library ./kb --k 3
    """
    words = language(lang)
    bots.check_expansion(expand)
    if (query is None) == (image is None):
        raise UsageError("give the words to look for, or a picture by --image FILE, one of the two")
    if image is not None:
        given = {"--mode": mode != "hybrid", "--mmr": mmr is not None, "--parents": parents, "--rerank": rerank,
                 "--keyword-weight": keyword_weight is not None, "--expand": expand}  # fmt: skip
        _refuse([name for name, there in given.items() if there])
    with closing(bots.open_library(library, embeddings)) as opened:
        found: list[dict[str, Any]] = []
        if query is not None:
            finder = bots.retriever(opened, k, mode, rerank, keyword_weight, mmr=mmr, parents=parents)
            passages = _passages(finder, query, expand, model, k)
            found = [{"text": passage.page_content, **passage.metadata} for passage in passages]
        found += _pictures(opened, query, image, k)
    if json:
        show.as_json(found)
        return
    for number, about in enumerate(found, 1):
        where = answers.place(about["source"], about.get("page"), about.get("heading"), words)
        show.say(f"[{number}] {where} ({about['score']:.2f}; {about['why']})")
        if about["text"]:
            show.say("    " + about["text"].replace("\n", "\n    "))


def _refuse(options: list[str]) -> None:
    if options:
        raise UsageError(
            f"{options[0]} is of a search for words, and --image looks for pictures; leave one of them out"
        )


def _pictures(opened: Any, query: str | None, image: Path | None, k: int) -> list[dict[str, Any]]:
    """Return the pictures as the passages are said. Where words are looked for, pictures that cannot be are a note."""
    if query is not None and not opened.stats().get("pictures"):
        return []
    try:
        found = opened.pictures(query or "", like=image, k=k)
    except UsageError as error:
        if query is None:
            raise
        show.note(f"no pictures: {error}")
        return []
    return [{"text": "", **one.metadata, "score": one.score, "scores": one.scores, "why": one.why} for one in found]


def _passages(finder: Any, query: str, expand: str | None, model: str, k: int) -> Any:
    """Return what is found; no model is loaded where none is asked."""
    if expand is None:
        return finder.invoke(query)
    from chains import load_model

    return bots.expanded(finder, expand, load_model(model), k).invoke(query)["passages"]
