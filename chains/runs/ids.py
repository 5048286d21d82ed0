"""Ids for runs: 16 hexadecimal digits from the system's own randomness, fetched for many at once, since each fetch is a system call."""

import os
from collections import deque

_AT_ONCE = 256

_ready: deque[str] = deque()


def new_id() -> str:
    """Return an id that no other run has, in this process or another."""
    while True:
        try:
            return _ready.popleft()
        except IndexError:
            digits = os.urandom(8 * _AT_ONCE).hex()
            _ready.extend(digits[start : start + 16] for start in range(0, len(digits), 16))


os.register_at_fork(after_in_child=_ready.clear)  # or parent and child would give the same
