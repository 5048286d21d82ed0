"""Writes a model folder (GPT-2 or Llama layout) as a GGUF file for llama.cpp, with the `gguf` package alone."""

import json
import os
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import AutoModelForCausalLM

KINDS = {"fp32": (gguf.GGMLQuantizationType.F32, 0), "bf16": (gguf.GGMLQuantizationType.BF16, 32)}
NORMS = {"gpt2": {"ln_1": "attn_norm", "ln_2": "ffn_norm"}, "llama": {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}}  # fmt: skip
PRODUCTS = {
    "gpt2": {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"},
    "llama": {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    },
}  # fmt: skip
OUTSIDE = {
    "gpt2": {"transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm"},
    "llama": {"model.embed_tokens": "token_embd", "model.norm": "output_norm"},
}
BLOCKS = {"gpt2": "transformer.h", "llama": "model.layers"}


def path(folder: Path, dtype: str) -> Path:
    """Return the GGUF of the model in `folder`, its products in `dtype`; written where it is missing."""
    target = folder / f"{dtype}.gguf"
    if not target.exists():
        making = folder / f"{dtype}-{os.getpid()}.part"
        _write(folder, making, dtype)
        making.rename(target)
    return target


def _write(folder: Path, target: Path, dtype: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    kind = model.config.model_type
    writer = gguf.GGUFWriter(str(target), kind)
    _sizes(writer, model.config, dtype)
    _vocabulary(writer, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))
    for name, tensor in _tensors(kind, model.state_dict(), model.config):
        values = tensor.float().contiguous().numpy()
        if values.ndim == 1 or name.startswith("position"):
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, KINDS[dtype][0]), raw_dtype=KINDS[dtype][0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _sizes(writer: Any, config: Any, dtype: str) -> None:
    writer.add_file_type(KINDS[dtype][1])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def _vocabulary(writer: Any, tokenizer: dict[str, Any]) -> None:
    control = {token["id"] for token in tokenizer["added_tokens"]}
    names = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([name for name, _ in names])
    writer.add_token_types([kinds.CONTROL if number in control else kinds.NORMAL for _, number in names])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_add_bos_token(False)


def _tensors(kind: str, state: dict[str, torch.Tensor], config: Any) -> Any:
    """Yield every tensor under llama.cpp's name, in its layout."""
    for source, name in OUTSIDE[kind].items():
        yield from _both(state, source, name)
    for layer in range(config.num_hidden_layers):
        for source, name in NORMS[kind].items():
            yield from _both(state, f"{BLOCKS[kind]}.{layer}.{source}", f"blk.{layer}.{name}")
        for source, name in PRODUCTS[kind].items():
            for full, tensor in _both(state, f"{BLOCKS[kind]}.{layer}.{source}", f"blk.{layer}.{name}"):
                if tensor.ndim == 2 and kind == "gpt2":
                    tensor = tensor.T  # transformers keeps GPT-2's products as (in, out)
                if name in ("attn_q", "attn_k"):
                    tensor = _interleaved(tensor, config.hidden_size // config.num_attention_heads)
                yield full, tensor


def _both(state: dict[str, torch.Tensor], source: str, name: str) -> Any:
    for part in ("weight", "bias"):
        if f"{source}.{part}" in state:
            yield f"{name}.{part}", state[f"{source}.{part}"]


def _interleaved(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Return a query's or key's rows in the order of llama.cpp's rotary pairs: (0, w/2), (1, w/2 + 1), … of each head."""
    heads = weight.view(-1, 2, width // 2, weight.shape[-1])
    return heads.transpose(1, 2).reshape(weight.shape)
