"""A chatbot from what a person names: a model, a library's folder, instructions. The command line and the chat page start here."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError, nearest

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable

EXPANSIONS = ("queries", "hyde")  # how a model asks in other words: MultiQuery, HyDE
MODES = ("hybrid", "dense", "keyword")  # as in retrieval.search, which is too much to load for a name


def new_session() -> str:
    """Return a fresh name for a conversation."""
    return f"chat-{secrets.token_hex(4)}"


def named(folder: Path | None) -> Path:
    """Return the library's folder. Raises UsageError where none was named."""
    if folder is None:
        raise UsageError(
            "no index was named; make one with `chaintune index DOCUMENTS --library FOLDER`, then add --library FOLDER"
        )
    return folder


def check_library(folder: Path) -> None:
    """Raise UsageError, saying how an index is made, where `folder` holds none."""
    if not (folder / "passages.db").is_file():
        raise UsageError(f"there is no index at {folder}; make it with: chaintune index DOCUMENTS --library {folder}")


def open_library(folder: Path | None, embeddings: str | None = None) -> Any:
    """Return the Library in `folder`. Raises UsageError, saying how one is made, where there is none."""
    check_library(named(folder))
    return make_library(named(folder), embeddings)


def make_library(
    folder: Path, embeddings: str | None = None, chroma: str | None = None, images: str | None = None
) -> Any:
    """Return the Library in `folder`, an empty one where there is none; `embeddings` is the model that it was or will be made with.

    `chroma` is the URL of the server that keeps its vectors, `images` the CLIP model of its pictures; None: what it was made with.
    """
    from chains import LocalEmbeddings
    from retrieval import Library

    return Library(folder, LocalEmbeddings(embeddings), chroma=chroma, images=images)


def check_mode(mode: str) -> None:
    """Raise UsageError on a way of finding that does not exist."""
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; use {', '.join(MODES)}{nearest(mode, MODES)}")


def retriever(
    library: Any, k: int, mode: str, rerank: str | None = None, keyword_weight: float | None = None, **more: Any
) -> "BaseRetriever":
    """Return the library's retriever of `k` passages; what is not given is left to the library. Raises UsageError on a mode that does not exist."""
    check_mode(mode)
    if rerank is not None:
        more["rerank"] = rerank
    if keyword_weight is not None:
        more["weights"] = {"keyword": keyword_weight}
    found: BaseRetriever = library.as_retriever(k=k, mode=mode, **more)
    return found


def check_expansion(how: str | None) -> None:
    """Raise UsageError on a way of asking in other words that does not exist."""
    if how is not None and how not in EXPANSIONS:
        raise UsageError(f"expand {how!r} is unknown; use {' or '.join(EXPANSIONS)}{nearest(how, EXPANSIONS)}")


def expanded(passages: "Runnable[Any, Any]", how: str | None, llm: Any, k: int) -> "Runnable[Any, Any]":
    """Return the retriever, behind a model that asks in other words where `how` is given; `k` passages at most."""
    if how is None:
        return passages
    from chains import HyDE, MultiQuery

    return {"queries": MultiQuery, "hyde": HyDE}[how](llm=llm, retriever=passages, k=k)
