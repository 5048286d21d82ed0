"""Pages of keys and values: nobody's are another's, and a store that could not grow is what it was."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chains.models import kv

KEYS, VALUES = torch.ones(2, 1, 4), torch.ones(2, 1, 3)


def made(count):
    store = kv.Pages(8)
    taken = store.take(count)
    for layer in range(2):
        store.layer(layer, KEYS, VALUES)
    return store, taken


def test_a_page_comes_back_as_zeros_and_to_one_row_alone():
    store, first = made(3)
    store.layers[0][0][first] = torch.nan
    store.give(first[:2])
    again = store.take(4)
    assert not set(again) & {first[2]} and len(set(again)) == 4
    assert not store.layers[0][0][again].any() and store.layers[0][0][first[2]].isnan().all()
    assert not store.unused


def test_where_memory_runs_out_the_store_stays_usable(monkeypatch):
    store, _ = made(2)
    grown, calls = kv._grown, []

    def short(old, count, room):
        calls.append(count)
        if len(calls) == 3:
            raise MemoryError
        return grown(old, count, room)

    monkeypatch.setattr(kv, "_grown", short)
    with pytest.raises(MemoryError):
        store.take(40)
    taken = store.take(1)
    assert taken == [2]
    for pair in store.layers.values():
        for part in pair:
            part[taken] = 1.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process' memory is read from /proc")
def test_a_store_that_is_let_go_gives_its_memory_back():
    code = """
import torch
from chains.models.kv import Pages
held = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
others = []
for _ in range(4):
    store = Pages(32)
    store.take(256)
    for layer in range(6):
        for part in store.layer(layer, *(torch.zeros(4, 1, 64),) * 2):
            part.fill_(1)
        others.append(torch.zeros(2000))  # it lies above the pages where they come from the allocator
    full = held()
    del store, part
    print(full - held())
"""
    given_back = [float(line) for line in subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()]
    assert (
        min(given_back) > 0.95 * 6 * 2 * 256 * 4 * 32 * 64 * 4 / 2**20
    )  # layers, keys and values, pages, heads, tokens, width, bytes
