"""Where a model runs, and in which numbers, when nobody says."""

from functools import lru_cache
from pathlib import Path

import torch

HALF = (torch.bfloat16, torch.float16)
CPU = Path("/proc/cpuinfo")


def chosen(device: str | None) -> str:
    """Return `device`, or the first GPU where there is one: CUDA's, then Apple's; else the CPU."""
    if device is not None:
        return device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def dtype(wanted: str, saved: torch.dtype | None, device: str) -> torch.dtype:
    """Return the type that is `wanted`; for `auto` bfloat16 where the weights were saved in half precision and the device multiplies it, else float32."""
    if wanted != "auto":
        found: torch.dtype = getattr(torch, wanted)
        return found
    return torch.bfloat16 if saved in HALF and multiplies_bfloat16(device) else torch.float32


@lru_cache
def multiplies_bfloat16(device: str) -> bool:
    """Return whether the device has instructions for products of bfloat16, not only a slower way round."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.startswith("mps"):
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _flags())


def _flags() -> set[str]:
    """Return what the CPU says that it can; nothing where the system does not tell."""
    try:
        lines = CPU.read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}
