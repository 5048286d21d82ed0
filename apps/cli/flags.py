"""The flags that several commands share, each written once."""

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout; everything else goes to stderr.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        envvar="CHAINTUNE_MODEL",
        help="Model name: starter, hf:…, ft:…, openai:…, or a name of `models list`.",
    ),
]
System = Annotated[
    str | None, typer.Option("--system", help="The assistant's instructions, said before every conversation.")
]
Library = Annotated[
    Path | None,
    typer.Option("--library", envvar="CHAINTUNE_LIBRARY", help="Folder of an index made by `chaintune index`."),
]
Embeddings = Annotated[
    str | None,
    typer.Option(
        "--embeddings",
        envvar="CHAINTUNE_EMBEDDINGS",
        help="The library's embedding model: a sentence-transformers folder or hub id. Default: the packaged English one.",
    ),
]
K = Annotated[int, typer.Option("--k", min=1, max=100, help="How many passages to look up.")]
Mode = Annotated[str, typer.Option("--mode", help="How passages are found: hybrid, dense (by meaning) or keyword.")]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank", help="A cross-encoder, folder or hub id, that reads the best passages and orders them anew."
    ),
]
KeywordWeight = Annotated[
    float | None,
    typer.Option(
        "--keyword-weight",
        min=0.0,
        help="What words count for in a hybrid search, in which meaning counts 0.7. Default: 0.3.",
    ),
]
Expand = Annotated[
    str | None,
    typer.Option(
        "--expand", help="The model asks in other words first: queries (rewordings) or hyde (a likely answer)."
    ),
]
Quotes = Annotated[
    str,
    typer.Option(
        "--quotes",
        help="How citations are made: matched (the nearest sentences) or decoded (a local model copies, held to the passages).",
    ),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0.0, max=5.0, help="0 always takes the likeliest token.")
]
Language = Annotated[str | None, typer.Option("--lang", help="ko or en. Default: CHAINTUNE_LANG, then the locale.")]


def given(**values: Any) -> dict[str, Any]:
    """Return the values that a person gave."""
    return {name: value for name, value in values.items() if value is not None}
