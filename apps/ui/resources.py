"""Models and libraries, loaded once for all who look at the page."""

from pathlib import Path
from typing import Any

import streamlit as st

from apps import bots
from chains import load_model
from chains.errors import UsageError
from chains.models import registry


def chat_models() -> list[str]:
    """Return the names of the registered models that chat."""
    return [entry.name for entry in registry.entries() if entry.kind == "chat"]


def model(name: str) -> Any:
    """Return the chat model called `name`, read again where a model of that name was made anew."""
    return _model(name, _made_at(name))


def retriever(folder: str, embeddings: str | None) -> Any:
    """Return the retriever of the library in `folder`, whose embedding model is `embeddings`. Raises UsageError where there is none."""
    return bots.retriever(_library(str(Path(folder).expanduser().absolute()), embeddings), k=6, mode="hybrid")


def _made_at(name: str) -> float:
    try:
        return registry.find(name).path.stat().st_mtime
    except UsageError:  # hf:, openai: and fake: models are not in the registry
        return 0.0


@st.cache_resource(max_entries=2, show_spinner=False)
def _model(name: str, made_at: float) -> Any:
    return load_model(name)


@st.cache_resource(max_entries=4, show_spinner=False)
def _library(folder: str, embeddings: str | None) -> Any:
    return bots.open_library(Path(folder), embeddings)
