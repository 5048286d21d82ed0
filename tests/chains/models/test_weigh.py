"""Scores that become weights in one compiled pass, against plain torch."""

import pytest
import torch

from chains.models.weigh import weigh


def plain(
    products: torch.Tensor, last: torch.Tensor, window: int | None, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores = products.double() * 0.3
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    place = torch.arange(products.shape[-1])
    hidden = place > last[..., None]
    if window is not None:
        hidden |= place <= last[..., None] - window
    scores = scores.masked_fill(hidden, -torch.inf)
    peak = scores.amax(-1).clamp(min=-1e30)
    weights = (scores - peak[..., None]).exp()
    return weights, weights.sum(-1), peak


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
@pytest.mark.parametrize("window", [None, 1, 7, 40])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("tokens", [1, 5, 37, 150])
def test_it_is_the_numerator_of_a_softmax(
    dtype: torch.dtype, tolerance: float, window: int | None, softcap: float | None, tokens: int
) -> None:
    draw = torch.Generator().manual_seed(tokens)
    products = (torch.randn(3, 4, tokens, generator=draw) * 9).to(dtype)
    last = torch.randint(0, tokens + 60, (3, 4), generator=draw)  # some lie after the piece, some windows hide it all
    expected = plain(products, last, window, softcap)
    totals, peaks = weigh(products, last, 0.3, window, softcap)
    for found, wanted in zip((products, totals, peaks), expected, strict=True):
        assert torch.allclose(found.double(), wanted, rtol=max(tolerance, 1e-5), atol=tolerance)


def test_without_a_last_token_all_are_seen() -> None:
    products = torch.randn(5, 33, generator=torch.Generator().manual_seed(1))
    wanted = torch.softmax(products * 0.5, -1)
    totals, _ = weigh(products, None, 0.5, None, None)
    assert torch.allclose(products / totals[:, None], wanted)


def test_a_nan_spoils_its_own_row_alone() -> None:
    products = torch.randn(6, 40, generator=torch.Generator().manual_seed(2))
    products[2, 17] = torch.nan
    totals, _ = weigh(products, torch.tensor([39, 39, 39, 16, 39, 39]), 1.0, None, None)
    assert totals.isnan().tolist() == [False, False, True, False, False, False]


def test_a_nan_that_is_hidden_does_nothing() -> None:
    products = torch.zeros(1, 40)
    products[0, 30] = torch.nan
    totals, _ = weigh(products, torch.tensor([29]), 1.0, None, None)
    assert totals.tolist() == [30.0]
    assert products[0, 30] == 0
