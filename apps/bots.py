"""A chatbot from what a person names: a model, a library's folder, instructions. The command line and the chat page start here."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError, nearest

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

MODES = ("hybrid", "vector", "keyword")


def new_session() -> str:
    """Return a fresh name for a conversation."""
    return f"chat-{secrets.token_hex(4)}"


def check_library(folder: Path) -> None:
    """Raise UsageError, saying how an index is made, where `folder` holds none."""
    if not folder.is_dir():
        raise UsageError(f"there is no index at {folder}; make it with: chaintune index DOCUMENTS --library {folder}")


def open_library(folder: Path | None) -> Any:
    """Return the Library in `folder`. Raises UsageError, saying how one is made, where there is none."""
    if folder is None:
        raise UsageError(
            "no index was named; make one with `chaintune index DOCUMENTS --library FOLDER`, then add --library FOLDER"
        )
    check_library(folder)
    from retrieval import Library

    return Library(folder)


def retriever(library: Any, k: int, mode: str) -> "BaseRetriever":
    """Return the library's retriever of `k` passages. Raises UsageError on a mode that does not exist."""
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; use {', '.join(MODES)}{nearest(mode, MODES)}")
    found: BaseRetriever = library.as_retriever(k=k, mode=mode)
    return found
