"""The short way to the numbers that count equals the long way, in every architecture."""

import pytest
import torch

from tests import tiny
from tuning.forward import chosen_logits, chosen_tokens, spread

IDS = torch.tensor(
    [[11, 23, 5, 42, 17, 9, 33], [8, 99, 71, 6, 0, 0, 0]]
)  # the second row is padded from its fifth token
CHOSEN = torch.tensor([[0, 0, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 0, 0]])
PLACES = [(0, 3), (0, 4), (0, 6), (1, 1), (1, 3)]
every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


@every_architecture
def test_chosen_logits_are_those_of_the_whole_head(architecture):
    model = tiny.model(architecture, spread=0.3)
    with torch.no_grad():
        full = model(input_ids=IDS).logits
        got = chosen_logits(model, IDS, CHOSEN)
    torch.testing.assert_close(got, torch.stack([full[row, t - 1] for row, t in PLACES]))
    assert chosen_tokens(IDS, CHOSEN).tolist() == [IDS[row, t].item() for row, t in PLACES]
    assert model(input_ids=IDS).logits.shape == full.shape  # nothing stays on the model


@every_architecture
def test_their_gradients_are_the_same_too(architecture):
    short, long = tiny.model(architecture, spread=0.3), tiny.model(architecture, spread=0.3)
    chosen_logits(short, IDS, CHOSEN).logsumexp(-1).sum().backward()
    full = long(input_ids=IDS).logits
    sum(full[row, t - 1].logsumexp(-1) for row, t in PLACES).backward()
    for ours, theirs in zip(short.parameters(), long.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@every_architecture
def test_padding_does_not_change_logits(architecture):
    model = tiny.model(architecture, spread=0.3)
    with torch.no_grad():
        padded = chosen_logits(model, IDS, CHOSEN)[3:]
        alone = chosen_logits(model, IDS[1:, :4], CHOSEN[1:, :4])
    torch.testing.assert_close(padded, alone)


def test_spread_puts_values_back_where_they_were_chosen():
    back = spread(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), CHOSEN)
    assert back.tolist() == [[0, 0, 0, 1, 2, 0, 3], [0, 4, 0, 5, 0, 0, 0]]
