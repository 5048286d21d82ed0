"""Pages of keys and values: nobody's are another's, and a store that could not grow is what it was."""

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

    def short(old, count):
        calls.append(count)
        if len(calls) == 3:
            raise MemoryError
        return grown(old, count)

    monkeypatch.setattr(kv, "_grown", short)
    with pytest.raises(MemoryError):
        store.take(40)
    taken = store.take(1)
    assert taken == [2]
    for pair in store.layers.values():
        for part in pair:
            part[taken] = 1.0
