"""The compiled attention of rows that decode, against plain torch."""

import pytest
import torch

from chains.models import compiled, decode

WIDTH, VALUE_WIDTH, PAGES, GRAIN = 24, 20, 30, 8
AT = torch.tensor([3, 0, 39, 17, 8])
ROWS = torch.randperm(PAGES, generator=torch.Generator().manual_seed(1))[:25].view(5, 5)  # each row's pages


class Case:
    """Five rows on thirty pages, with 6 heads over 2 key heads; `before` is what a shared beginning of 9 tokens gives."""

    def __init__(self, dtype: torch.dtype, before: bool = False) -> None:
        draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
        generator = torch.Generator().manual_seed(3)
        self.query, self.key, self.value = draw(6, 8, WIDTH), draw(2, 8, WIDTH), draw(2, 8, VALUE_WIDTH)
        self.keys, self.values = draw(PAGES, 2, GRAIN, WIDTH), draw(PAGES, 2, GRAIN, VALUE_WIDTH)
        self.shared_keys, self.shared_values = draw(2, 9, WIDTH), draw(2, 9, VALUE_WIDTH)
        self.tokens = torch.tensor([7, 1, 0, 4, 5])
        self.before = before

    def found(self, window: int | None = None, softcap: float | None = None, rows: slice = slice(None)) -> torch.Tensor:
        out = torch.zeros(8, 6, VALUE_WIDTH, dtype=self.query.dtype)
        kept = self.keys.clone(), self.values.clone()
        before = None
        if self.before:
            scores = self._scores(self.query, self.shared_keys, softcap)[:, self.tokens].unflatten(0, (2, 3))
            peak = scores.amax(-1)
            weights = (scores - peak[..., None]).exp()
            summed = weights @ self.shared_values.float()[:, None]
            before = tuple(part.transpose(0, 2).transpose(1, 2)[rows] for part in (summed, weights.sum(-1), peak))
        places = ROWS[rows], self.tokens[rows], AT[rows]
        decode.attend((self.query, self.key, self.value), kept, places, before, (0.3, window, softcap), out)
        last = ROWS[rows].gather(1, AT[rows, None] // GRAIN)[:, 0]
        assert torch.equal(kept[0][last, :, AT[rows] % GRAIN], self.key[:, self.tokens[rows]].transpose(0, 1))
        assert torch.equal(kept[1][last, :, AT[rows] % GRAIN], self.value[:, self.tokens[rows]].transpose(0, 1))
        return out[self.tokens[rows]]

    def expected(self, window: int | None = None, softcap: float | None = None) -> torch.Tensor:
        made = []
        for pages, token, at in zip(ROWS, self.tokens, AT, strict=True):
            own_keys, own_values = (part[pages].transpose(0, 1).flatten(1, 2) for part in (self.keys, self.values))
            keys = torch.cat([own_keys[:, :at], self.key[:, token, None]], 1)
            values = torch.cat([own_values[:, :at], self.value[:, token, None]], 1)
            scores = self._scores(self.query[:, token, None], keys, softcap)
            if window is not None:
                scores[..., : max(0, int(at) + 1 - window)] = -torch.inf
            if self.before:
                scores = torch.cat([self._scores(self.query[:, token, None], self.shared_keys, softcap), scores], -1)
                values = torch.cat([self.shared_values, values], 1)
            made.append(torch.softmax(scores, -1) @ values.float().repeat_interleave(3, 0))
        return torch.stack(made)[:, :, 0]

    def _scores(self, query: torch.Tensor, keys: torch.Tensor, softcap: float | None) -> torch.Tensor:
        scores = query.float() @ keys.float().repeat_interleave(3, 0).mT * 0.3
        return scores if softcap is None else torch.tanh(scores / softcap) * softcap


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("window, softcap", [(None, None), (5, None), (None, 2.0)])
@pytest.mark.parametrize("before", [False, True])
def test_it_is_attention(
    dtype: torch.dtype, tolerance: float, window: int | None, softcap: float | None, before: bool
) -> None:
    case = Case(dtype, before)
    found = case.found(window, softcap)
    assert found.dtype == dtype
    assert (found.float() - case.expected(window, softcap)).abs().max() < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_alone_has_the_numbers_it_has_beside_others(dtype: torch.dtype) -> None:
    case = Case(dtype, before=True)
    together = case.found()
    for row in range(len(ROWS)):
        assert torch.equal(case.found(rows=slice(row, row + 1))[0], together[row])


def test_threads_share_the_rows_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(torch.float32)
    alone = case.found()
    monkeypatch.setattr(compiled, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(case.found(), alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_nan_stays_in_its_row(dtype: torch.dtype) -> None:
    case = Case(dtype)
    case.keys[ROWS[2, 1], 0, 3, 4] = torch.nan
    found = case.found()
    assert found[2, :3].isnan().all()
    assert not found[[0, 1, 3, 4]].isnan().any()


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    case = Case(torch.float32)
    case.keys *= 300
    assert (case.found() - case.expected()).abs().max() < 1e-4


def test_what_it_takes() -> None:
    assert compiled.fits(torch.zeros(1), torch.zeros(1, dtype=torch.bfloat16))
    assert not compiled.fits(torch.zeros(1), torch.zeros(1, dtype=torch.float16))
    assert not compiled.fits(torch.zeros(1, device="meta"))
