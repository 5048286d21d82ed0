"""CLIP: vectors of pictures and of texts in one space, so that a text finds pictures, and a picture finds pictures.

    Library("./kb", images=Clip("openai/clip-vit-base-patch32")).sync("photos/")

The model is a transformers CLIPModel with its tokenizer and its image processor, in a folder or on the hub; vectors have length 1 in float32.
Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020. OpenAI's models were taught English captions.
"""

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chains.errors import UsageError
from chains.models.embeddings import resolved
from chains.models.weights import quiet
from retrieval.text import Picture

_BATCH = 16  # pictures, or texts, that are computed together
_BICUBIC = 3  # Pillow's number of the one way of resizing that picture.py knows

_loading = threading.Lock()


class Clip:
    """The CLIP model `model`, a folder or a hub id; it is read when it is first used."""

    def __init__(self, model: str) -> None:
        self.name = resolved(model, "CLIP model")

    @classmethod
    def remembered(cls, name: str) -> "Clip":
        """Return the model of a name that was good before; whether it still is shows when it is used."""
        clip = cls.__new__(cls)
        clip.name = name
        return clip

    @property
    def edge(self) -> int:
        """The length in pixels to which the shorter side of a picture is brought."""
        return self._loaded().edge

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector for each text; of one that is too long for the model the end has no part in it."""
        loaded = self._loaded()
        return loaded.computed("get_text_features", (loaded.words(list(part)) for part in _batches(texts)))

    def embed_pictures(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Return a vector for each picture, whose shorter side is `edge` pixels long."""
        loaded = self._loaded()
        return loaded.computed("get_image_features", (loaded.pixels(part) for part in _batches(pictures)))

    def _loaded(self) -> "_Loaded":
        with _loading:
            return _load(self.name)


class _Loaded(NamedTuple):
    """A model with what prepares its inputs, and the lock to hold while it computes."""

    model: Any
    tokenizer: Any
    processor: Any
    edge: int
    alone: threading.Lock

    def words(self, texts: list[str]) -> Any:
        longest = self.model.config.text_config.max_position_embeddings
        return self.tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")

    def pixels(self, pictures: Sequence[Picture]) -> Any:
        return self.processor(images=[picture.pixels() for picture in pictures], return_tensors="pt")

    def computed(self, how: str, inputs: Iterator[Any]) -> np.ndarray:
        import torch

        with self.alone, torch.inference_mode():
            found = [_features(getattr(self.model, how)(**one)) for one in inputs]
        matrix = torch.cat(found).float().numpy()
        return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _features(output: Any) -> Any:
    """Return the projected vectors, which earlier versions of transformers give as a tensor and later ones within their output."""
    return getattr(output, "pooler_output", output)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[at : at + _BATCH] for at in range(0, len(items), _BATCH))


@lru_cache(maxsize=2)
def _load(source: str) -> _Loaded:
    from transformers import AutoConfig, AutoTokenizer, CLIPModel

    with quiet(bars=not Path(source).is_dir()):
        try:
            kind = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
            if kind != "clip":
                raise UsageError(
                    f"{source!r} is a model of the kind {kind!r}; images are found with one of the kind 'clip'"
                )
            model = CLIPModel.from_pretrained(source, use_safetensors=True, dtype="float32").eval()
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            processor = _processor().from_pretrained(source)
        except (OSError, ValueError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UsageError(f"cannot load {source!r} as a CLIP model: {why}") from error
    edge = dict(processor.size).get("shortest_edge")
    if not edge or processor.resample != _BICUBIC:
        raise UsageError(
            f"{source!r} resizes pictures in a way of its own; expected a CLIP model that brings the shorter side to a length, bicubic"
        )
    return _Loaded(model, tokenizer, processor, int(edge), threading.Lock())


def _processor() -> Any:
    """Return the processor that computes with Pillow, as it is called in this version of transformers."""
    import transformers

    return getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
