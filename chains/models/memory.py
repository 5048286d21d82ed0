"""How many tokens' keys and values a machine has memory for, and whether it was that which ran out."""

import os
from typing import Any

import torch

SHARE = 0.5
"""How much of the memory that is free now an engine may fill."""
FEWEST, MOST = 4096, 2**20


def room_for(model: Any) -> int:
    """Return how many tokens of a model's keys and values fit into half of what is free, from 4,096 to a million."""
    return max(FEWEST, min(MOST, int(SHARE * _free(model.device) / _token_bytes(model))))


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that there was not enough memory: Python's, a GPU's, or torch's on a CPU, which has no type of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _token_bytes(model: Any) -> int:
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    numbers = 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * width
    return int(numbers * torch.empty((), dtype=model.dtype).element_size())


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
