"""A cross-encoder: a model that reads a question and a passage together and says how well the one answers the other.

    Library("./kb").search("How long is half-time?", rerank=Reranker("cross-encoder/ms-marco-MiniLM-L6-v2"))

It is a transformers `…ForSequenceClassification` with one label, in a folder or on the hub, saved by sentence-transformers or not. A score
is the label's logit, as the model gives it: higher is better, and it compares with others of the same model.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.models.embeddings import resolved
from chains.models.weights import quiet

_loading = threading.Lock()


class Reranker:
    """The cross-encoder `model`, a folder or a hub id; it is read when it is first used."""

    def __init__(self, model: str) -> None:
        self.name = resolved(model, "cross-encoder")

    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """Return the score of each passage, in their order. Of a pair that is too long for the model, the longer one loses its end."""
        if not passages:
            return []
        with _loading:
            model, alone = _load(self.name)
        from torch.nn import Identity

        with alone:
            said = model.predict(
                [(query, passage) for passage in passages], activation_fn=Identity(), show_progress_bar=False
            )
        return [float(score) for score in said]


@lru_cache(maxsize=2)
def _load(source: str) -> tuple[Any, threading.Lock]:
    """Return the model and the lock to hold while it reads: its tokenizer serves one thread at a time."""
    from sentence_transformers import CrossEncoder

    with quiet(bars=not Path(source).is_dir()):
        try:
            weights = {"use_safetensors": True, "dtype": "float32"}
            model = CrossEncoder(source, trust_remote_code=False, model_kwargs=weights)
        except (OSError, ValueError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"cannot load {source!r} as a cross-encoder: {why}") from error
    labels = int(model.num_labels)
    if labels != 1:
        raise UsageError(f"{source!r} has {labels} labels; a cross-encoder that ranks has one")
    return model, threading.Lock()
