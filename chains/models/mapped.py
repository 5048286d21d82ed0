"""Weights that are read from a mapped file: the pages of it that nobody needs any more are given back, so that a weight is not twice in memory.

A loader maps a *.safetensors file and shows its tensors as they lie there; the file stays mapped as long as one of them is used.
"""

import ctypes
import mmap
from pathlib import Path

import torch

MAPS = Path("/proc/self/maps")
DONTNEED = 4
"""madvise's MADV_DONTNEED: the pages are read from the file again, should somebody ask."""


def drop(weight: torch.Tensor) -> None:
    """Give back the memory of a weight that lies in a mapped weights file and was not changed; one that lies elsewhere stays."""
    start, end = weight.data_ptr(), weight.data_ptr() + weight.nbytes
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last and _in_a_file(start, end):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), DONTNEED)


def _in_a_file(start: int, end: int) -> bool:
    try:
        lines = MAPS.read_text().splitlines()
    except OSError:  # only Linux tells
        return False
    for line in lines:
        low, high = (int(number, 16) for number in line.split(" ", 1)[0].split("-"))
        if low <= start < high:
            return end <= high and line.endswith(".safetensors")
    return False
