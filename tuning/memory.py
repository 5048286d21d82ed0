"""What a step frees stays with the process until the training ends, so that the next step does not ask the system for it again.

A step's activations are some hundred MB in pieces that glibc gives back the moment they are free: to get them anew cost 13 % of a PPO step in
page faults, for 5 % less memory. Elsewhere than on Linux's glibc nothing is changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chains.models import allocator

TRIM, MMAP = -1, -3
"""mallopt's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h)."""
LARGE, USUAL = 2**30, {MMAP: 2**25, TRIM: 2**26}
"""In bytes; the usual ones are those that glibc itself comes to in a process that frees large pieces."""
SMALL = 2**19
"""In bytes: a layer's weights are larger, and most of a step's other pieces are not."""


@contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory while the block runs, and give it back after."""
    libc = allocator.glibc()
    for setting in USUAL:
        _set(libc, setting, LARGE)
    try:
        yield
    finally:
        for setting, usual in USUAL.items():
            _set(libc, setting, usual)
        allocator.trim()


def returned() -> None:
    """Give large pieces back the moment they are free, from now on, as a divided model needs whose layers come together and part again.

    Kept, their pieces of many sizes lie so that the process grows to more than the whole model's: 2,100 MB in place of 1,350 for 100 M
    parameters divided between two.
    """
    libc = allocator.glibc()
    for setting in USUAL:
        _set(libc, setting, SMALL)


def _set(libc: Any, setting: int, size: int) -> None:
    if libc:
        libc.mallopt(setting, size)
