"""A chatbot from what a person names: a model, a library's folder, instructions. The command line and the chat page start here."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError, nearest

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

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


def make_library(folder: Path, embeddings: str | None = None, chroma: str | None = None) -> Any:
    """Return the Library in `folder`, an empty one where there is none; `embeddings` is the model that it was or will be made with.

    `chroma` is the URL of the server that keeps its vectors; None: the one that it was made with.
    """
    from chains import LocalEmbeddings
    from retrieval import Library

    return Library(folder, LocalEmbeddings(embeddings), chroma=chroma)


def check_mode(mode: str) -> None:
    """Raise UsageError on a way of finding that does not exist."""
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; use {', '.join(MODES)}{nearest(mode, MODES)}")


def retriever(library: Any, k: int, mode: str) -> "BaseRetriever":
    """Return the library's retriever of `k` passages. Raises UsageError on a mode that does not exist."""
    check_mode(mode)
    found: BaseRetriever = library.as_retriever(k=k, mode=mode)
    return found
