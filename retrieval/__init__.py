"""Finds the passages of your documents that answer a question: by words, by meaning, or by both.

    from retrieval import Library
    with Library("./kb") as library:
        library.sync("docs/")                          # incremental: only what changed is read and embedded again
        library.search("How long is half-time?", k=3)  # Passages, each with its source and its place in it
        library.as_retriever(k=6)                      # the same as a langchain_core retriever

Names load when they are first used, so `import retrieval` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.clip import Clip as Clip
    from retrieval.library import Library as Library
    from retrieval.library import Source as Source
    from retrieval.parser import Limits as Limits
    from retrieval.rerank import Reranker as Reranker
    from retrieval.search import Passage as Passage
    from retrieval.sync import SyncReport as SyncReport

_HOMES = {
    "Clip": "retrieval.clip",
    "Library": "retrieval.library",
    "Limits": "retrieval.parser",
    "Passage": "retrieval.search",
    "Reranker": "retrieval.rerank",
    "Source": "retrieval.library",
    "SyncReport": "retrieval.sync",
}

__all__ = ["Clip", "Library", "Limits", "Passage", "Reranker", "Source", "SyncReport"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
