"""A CLIP model of random weights in a folder, and pictures."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizerFast,
    CLIPVisionConfig,
)

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'"
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_factor": 5.0,
}


@lru_cache
def _model(dimensions: int, seed: int) -> CLIPModel:
    torch.manual_seed(seed)
    tokens = 2 * len(_LETTERS) + 2
    text = CLIPTextConfig(
        vocab_size=tokens, max_position_embeddings=20, bos_token_id=tokens - 2, eos_token_id=tokens - 1, pad_token_id=tokens - 1, **_SIZES
    )  # fmt: skip
    vision = CLIPVisionConfig(image_size=30, patch_size=6, **_SIZES)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=dimensions)
    ).eval()


def clip_folder(folder: Path, dimensions: int = 16, seed: int = 0) -> Path:
    """Write the model with its tokenizer, of letters alone, and its image processor."""
    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    _model(dimensions, seed).save_pretrained(folder)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizerFast(vocab=vocabulary, merges=[]).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size={"height": 30, "width": 30}).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "clip"
    return folder


def noise(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """Return a picture of large random patches, so that it is not like another one's."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BILINEAR)
