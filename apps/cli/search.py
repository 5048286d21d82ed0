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
    k: flags.K = 6,
    mode: flags.Mode = "hybrid",
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Show the passages that a library finds, best first.

    Example: chaintune search "하프타임" --library ./kb --k 3
    """
    words = language(lang)
    with closing(bots.open_library(library)) as opened:
        found = bots.retriever(opened, k, mode).invoke(query)
    if json:
        show.as_json([{"text": passage.page_content, **passage.metadata} for passage in found])
        return
    for number, passage in enumerate(found, 1):
        about = passage.metadata
        show.say(f"[{number}] {answers.place(about['source'], about.get('page'), about.get('heading'), words)}")
        show.say("    " + passage.page_content.replace("\n", "\n    "))
