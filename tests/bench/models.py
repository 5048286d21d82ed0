"""The two models of the generation benchmark and its 32 requests, made on the spot from seeds and the shipped corpus.

S is GPT-2-like (14 M weights, 8,192 tokens), M is Llama-like (100 M, 32,000 tokens). Their weights are random, wide enough that attention decides
the tokens, and they have no end token: a request takes exactly as many tokens as it asks for. Every request begins with the same 150 tokens.
"""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

SEED = 1234
SPREAD = 0.06  # three times the usual: at 0.02 a random model only repeats the token before, whatever it attends to
HEADER, OWN, NEW = 150, (20, 200), (16, 128)
VERSION = "2"  # of what this file makes; a folder of another version is made anew


def folder(cache: Path, name: str) -> Path:
    """Return the folder of model `name`, 'S' or 'M', with its weights, its tokenizer and `requests.json`; made where it is missing."""
    from chains.models.weights import quiet

    target = cache / f"{name}-{VERSION}"
    if not target.is_dir():
        making = cache / f"{name}-{os.getpid()}.part"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        with quiet(bars=False):
            _make(name, making)
        try:
            making.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(making)  # another run has made it meanwhile
    return target


def requests(model: Path, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` requests: `messages`, `text` and `ids` of the prompt, and `max_tokens`."""
    return json.loads((model / "requests.json").read_text(encoding="utf-8"))[:limit]


def long_prompts(model: Path) -> list[list[dict[str, Any]]]:
    """Return pairs of requests that begin with the same long text, 2,000 tokens for M and 400 for S; no two pairs share it."""
    return json.loads((model / "long.json").read_text(encoding="utf-8"))


def _make(name: str, target: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    from apps.starter import corpus

    text = corpus.text()
    size = {"S": 8192, "M": 32000}[name]
    words = tokenizer(text, size, {"S": 512, "M": 4096}[name])
    ends: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": words.pad_token_id,
        "initializer_range": SPREAD,
    }
    torch.manual_seed(SEED)
    if name == "S":
        dropouts: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = GPT2Config(vocab_size=size, n_positions=512, n_embd=384, n_layer=6, n_head=6, **dropouts, **ends)
        model: Any = GPT2LMHeadModel(config)
    else:
        sizes: dict[str, Any] = {
            "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
            "num_key_value_heads": 4, "max_position_embeddings": 4096, "tie_word_embeddings": True,
        }  # fmt: skip
        model = LlamaForCausalLM(LlamaConfig(vocab_size=size, **sizes, **ends))
    model.save_pretrained(target)
    words.save_pretrained(target)
    (target / "requests.json").write_text(json.dumps(_requests(words, text)), encoding="utf-8")
    known = {"S": 400, "M": 2000}[name]  # S reads 512 tokens at most
    (target / "long.json").write_text(json.dumps(_long_prompts(words, text, known)), encoding="utf-8")


def tokenizer(text: str, size: int, context: int) -> Any:
    """Return a tokenizer of exactly `size` tokens without an end token; names that no text holds stand where the corpus gives no more merges."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from chains.models.templates import CHAT_TEMPLATE, CONTROL_TOKENS
    from tuning.tokenizer import train

    learned = json.loads(train([text], min(size, 8192), context).backend_tokenizer.to_str())
    vocabulary = learned["model"]["vocab"]
    for number in range(len(vocabulary), size):
        vocabulary[f"unused{number}"] = number
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(learned)),
        pad_token=CONTROL_TOKENS["pad"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _requests(words: Any, text: str, count: int = 32) -> list[dict[str, Any]]:
    draw = random.Random(SEED)
    stream = words.encode(text, add_special_tokens=False)
    header = _piece(words, stream, HEADER - 2, draw)  # the marks around it are two tokens
    rows = []
    for length, new in zip(_spaced(OWN, count, draw), _spaced(NEW, count, draw), strict=True):
        own = _piece(words, stream, length - 3, draw)  # <|user|> … <|end|><|assistant|>
        rows.append(_request(words, header, own, new))
    return rows


def _long_prompts(words: Any, text: str, known: int, count: int = 16) -> list[list[dict[str, Any]]]:
    draw = random.Random(SEED)
    stream = words.encode(text, add_special_tokens=False)
    headers = [f"{number}. {_piece(words, stream, known, draw)}" for number in range(count)]
    return [[_request(words, header, _piece(words, stream, 20, draw), 1) for _ in range(2)] for header in headers]


def _request(words: Any, header: str, own: str, new: int) -> dict[str, Any]:
    messages = [{"role": "system", "content": header}, {"role": "user", "content": own}]
    prompt = words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = words.encode(prompt, add_special_tokens=False)
    return {"messages": messages, "text": prompt, "ids": ids, "max_tokens": new}


def _spaced(ends: tuple[int, int], count: int, draw: random.Random) -> list[int]:
    """Return `count` numbers from one end to the other at equal steps, shuffled."""
    numbers = [ends[0] + round(place * (ends[1] - ends[0]) / (count - 1)) for place in range(count)]
    draw.shuffle(numbers)
    return numbers


def _piece(words: Any, stream: list[int], length: int, draw: random.Random) -> str:
    """Return a piece of the corpus that is exactly `length` tokens long when it is read alone."""
    while True:
        start = draw.randrange(len(stream) - length)
        piece = words.decode(stream[start : start + length])
        if "\ufffd" not in piece and words.encode(piece, add_special_tokens=False) == stream[start : start + length]:
            return piece
