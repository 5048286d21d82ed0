"""While a training runs, what a step frees is there for the next; afterwards it is given back."""

import resource
import sys

import pytest
import torch

from chains.models import allocator
from tests.bench.child import memory_mb
from tuning import memory

MB = 2**20


def step():
    """Fill 8 x 24 MB and free it; return how many new pages that took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(24 * MB, dtype=torch.uint8) for _ in range(8)]
    del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux") or allocator.glibc() is None, reason="this is no glibc")
def test_freed_memory_is_kept_while_the_block_runs_and_given_back_after():
    with memory.kept():
        for _ in range(4):
            step()
        assert step() < 8 * 24 * MB / resource.getpagesize() / 20
        inside = memory_mb("VmRSS")
    assert memory_mb("VmRSS") < inside - 150


def test_elsewhere_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(allocator, "glibc", lambda: None)
    with memory.kept():
        pass
