"""The C library's allocator, which keeps much of what a program has freed: told here to give it back. Elsewhere than on Linux's glibc nothing is done."""

import ctypes
from functools import lru_cache
from typing import Any


@lru_cache
def glibc() -> Any:
    """Return glibc with its `mallopt` and `malloc_trim`, or None where there is another C library."""
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):
        return None


def trim() -> None:
    """Give what is free back to the system."""
    if libc := glibc():
        libc.malloc_trim(0)
