"""Models too small to be any good, for tests of what makes and runs models: random weights, a tokenizer learned on a few sentences.

Everything here is made once a session; `starter` puts a copy into the registry of the test that asks.
"""

import copy
import json
from functools import lru_cache

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from chains.models import registry, weights
from tuning import base, reward, tokenizer

CONTEXT = 96
ARCHITECTURES = ("gpt2", "llama", "qwen3", "neox")
TEXTS = (
    "What colour is the sky? The sky is blue.",
    "What colour is the grass? The grass is green.",
    "몇 명이 뛰나요? 여섯 명이 뛰어요.",
    "공은 무슨 색인가요? 공은 빨간색이에요.",
    "yes no maybe good bad please thanks",
)


@lru_cache
def words():
    """A tokenizer of 400 tokens: the bytes, the chat's marks, and merges from TEXTS."""
    return tokenizer.train(TEXTS, 400, CONTEXT)


@lru_cache
def _model(architecture, seed, spread):
    size = len(words())
    ends = {"bos_token_id": None, "eos_token_id": words().eos_token_id, "pad_token_id": words().pad_token_id}
    common = {"vocab_size": size, "initializer_range": spread, **ends}
    rotary = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT, "tie_word_embeddings": False,
    }  # fmt: skip
    torch.manual_seed(seed)
    match architecture:
        case "gpt2":
            sizes = {"n_positions": CONTEXT, "n_embd": 32, "n_layer": 2, "n_head": 4}
            dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
            return GPT2LMHeadModel(GPT2Config(**common, **sizes, **dropouts)).eval()
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**common, **rotary, num_key_value_heads=2)).eval()
        case "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**common, **rotary, num_key_value_heads=2, head_dim=16)).eval()
        case "neox":
            return GPTNeoXForCausalLM(GPTNeoXConfig(**common, **rotary)).eval()


def model(architecture="gpt2", seed=0, spread=0.02):
    """Return a random model of an architecture, a copy that the test may change; a wide `spread` makes it sure of what it says."""
    return copy.deepcopy(_model(architecture, seed, spread))


def starter(name="starter", seed=0, architecture="gpt2", spread=0.02):
    """Put a random model into the registry as `name` and return its entry."""
    with (
        registry.publish(name, {"kind": "chat", "method": "pretrain", "parents": []}) as folder,
        weights.quiet(bars=False),
    ):
        _model(architecture, seed, spread).save_pretrained(folder)
        words().save_pretrained(folder)
    return registry.find(name)


def chat(question, answer):
    """Return a chat row."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def ranking(question, answers, ranks):
    """Return a rankings row."""
    outputs = [
        {"messages": [{"role": "assistant", "content": answer}], "rank": rank}
        for answer, rank in zip(answers, ranks, strict=True)
    ]
    return {"input": {"messages": [{"role": "user", "content": question}]}, "outputs": outputs}


def write(path, rows):
    """Write rows as JSONL and return the path as text."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def judge(name="judge", seed=0, architecture="gpt2"):
    """Put a reward model with a random head into the registry as `name` and return its entry."""
    start = base.Base(name, model(architecture, seed), words(), CONTEXT, {})
    with (
        registry.publish(name, {"kind": "reward", "method": "reward", "parents": [], "shift": 0.0}) as folder,
        weights.quiet(bars=False),
    ):
        reward.scalar_model(start, seed, dropout=0.0).save_pretrained(folder)
        words().save_pretrained(folder)
    return registry.find(name)
