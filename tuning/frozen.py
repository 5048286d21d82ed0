"""A base that stays as it is under a LoRA adapter: in float32, in bfloat16, or in 4 bits (QLoRA, arXiv 2305.14314); and the whole model after.

What is published is always the base in full precision with the adapter's change in its weights, so that a model runs without its base.
"""

import logging
from typing import Any

import torch

from chains.errors import UsageError
from tuning import adapter, base
from tuning.configs import SFTConfig


def load(config: SFTConfig, device: torch.device) -> base.Base:
    """Return `config.model` under a fresh adapter on the device, ready to train. Raises UsageError where its 4-bit weights need what is not installed."""
    how: dict[str, Any] = {"dtype": getattr(torch, config.dtype)}
    if config.quantize:
        how["quantization_config"] = _four_bits(how["dtype"])
        how |= {} if device.type == "cpu" else {"device_map": {"": device}}  # a GPU packs its own way
    start = base.load(config.model, dropout=config.dropout, device=device, **how)
    for module in start.model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = (
                False  # it would reorder and round the weights whenever they are only measured
            )
    model = adapter.put_on(start.model, config.lora_rank, config.lora_alpha, config.seed)
    return base.Base(start.name, model, start.tokenizer, start.context, start.meta)


def _four_bits(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(
        logging.ERROR
    )  # it says at import what it could have besides
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise UsageError("quantize needs bitsandbytes; run: pip install 'chaintune[qlora]'") from error
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def whole(model: Any, start: str, rank: int, alpha: int) -> Any:
    """Return the model in float32 with what its adapter learned in its weights; one without an adapter as it is.

    Over a base in other numbers the adapter of `rank` and `alpha` goes onto the model `start`, read again.
    """
    if not adapter.on(model) or all(weight.dtype == torch.float32 for weight in model.parameters()):
        return adapter.merged(model)
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    learned = get_peft_model_state_dict(model)
    full = adapter.put_on(base.load(start).model, rank, alpha, seed=0)
    set_peft_model_state_dict(full, learned)
    return adapter.merged(full)


def trained(model: Any) -> torch.nn.Module:
    """Return a module of the weights that train, which is all that a checkpoint needs to hold."""
    if not adapter.on(model):
        return model
    return torch.nn.ParameterList(p for p in model.parameters() if p.requires_grad)
