"""Answers that are read end to end, a prompt once for all its answers, say what each of them says alone."""

import pytest
import torch

from tests import tiny
from tuning import packing, rollout
from tuning.base import Base
from tuning.reading import read
from tuning.reward import scalar_model

ROWS = [  # (prompt, answer): the first and the last answer one prompt, the third's is one token
    ([11, 23, 5, 42], [17, 9, 33]),
    ([8, 99], [71]),
    ([6], [31, 44]),
    ([11, 23, 5, 42], [17, 12]),
    ([6], [90]),
]
every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
both_ways = pytest.mark.parametrize("packed", [True, False])


def answers():
    rows = [prompt + answer for prompt, answer in ROWS]
    pad = lambda lists: torch.tensor([[*each, *[0] * (7 - len(each))] for each in lists])  # noqa: E731
    mask = pad([[0] * len(prompt) + [1] * len(answer) for prompt, answer in ROWS])
    return rollout.Answers(pad(rows), mask, torch.ones(len(rows)), rows, [""] * len(rows))


def alone(model):
    """Yield (row, place, the logits that the token there was drawn from), each row read by itself."""
    for row, (prompt, answer) in enumerate(ROWS):
        logits = model(torch.tensor([prompt + answer])).logits[0]
        for t in range(len(prompt), len(prompt) + len(answer)):
            yield row, t, logits[t - 1]


def test_a_prompt_is_read_once_and_no_last_answers_token():
    pack = read(answers(), packed=True).inputs["pack"]
    assert pack.ids.tolist() == [[11, 23, 5, 42, 17, 9, 42, 17, 8, 99, 6, 31, 6]]
    assert pack.positions.tolist() == [[0, 1, 2, 3, 4, 5, 3, 4, 0, 1, 0, 1, 0]]


@both_ways
@every_architecture
def test_logps_and_entropy_are_those_of_a_row_alone(architecture, packed):
    model, said = tiny.model(architecture, spread=0.3), answers()
    with torch.no_grad(), packing.attending(model):
        pack = rollout.action_logps_and_entropy(model, said, True)
        short = rollout.action_logps(model, said, True)
    with torch.no_grad():
        logps, entropy = pack if packed else rollout.action_logps_and_entropy(model, said)
        for row, t, logits in alone(model):
            logp = logits.log_softmax(-1)[said.ids[row, t]].item()
            assert logps[row, t].item() == pytest.approx(logp, abs=1e-4)
            expected = torch.distributions.Categorical(logits=logits).entropy().item()
            assert entropy[row, t].item() == pytest.approx(expected, abs=1e-4)
    assert not logps[said.mask == 0].any() and not entropy[said.mask == 0].any()
    torch.testing.assert_close(short, logps, rtol=1e-4, atol=1e-4)


@both_ways
@every_architecture
def test_a_state_value_is_the_models_score_of_the_tokens_before(architecture, packed):
    start = Base("tiny", tiny.model(architecture, spread=0.3), tiny.words(), tiny.CONTEXT, {})
    model, said = scalar_model(start, seed=1, dropout=0.0).eval(), answers()
    with torch.no_grad():
        with packing.attending(model):
            found = read(said, True).values(model)
        values = found if packed else read(said, False).values(model)
        for row, (prompt, answer) in enumerate(ROWS):
            for t in range(len(answer)):  # transformers' own head scores the last token of a row without padding
                expected = model(input_ids=torch.tensor([prompt + answer[:t]])).logits[0, 0].item()
                assert values[row, len(prompt) + t].item() == pytest.approx(expected, abs=1e-5)
    assert not values[said.mask == 0].any()


@every_architecture
def test_gradients_are_those_of_the_rows_alone(architecture):
    packed, other = (tiny.model(architecture, spread=0.3) for _ in range(2))
    said = answers()
    weight = torch.arange(said.ids.numel()).view(said.ids.shape) / 10
    with packing.attending(packed):
        (rollout.action_logps_and_entropy(packed, said, True)[0] * weight).sum().backward()
    sum(weight[row, t] * logits.log_softmax(-1)[said.ids[row, t]] for row, t, logits in alone(other)).backward()
    for ours, theirs in zip(packed.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4)


def test_an_answer_without_a_token_has_no_number():
    said = answers()
    mask = said.mask.clone()
    mask[1] = 0
    model = tiny.model(spread=0.3)
    less = rollout.Answers(said.ids, mask, said.ended, said.rows, said.texts)
    with torch.no_grad(), packing.attending(model):
        logps = rollout.action_logps(model, less, True)
        torch.testing.assert_close(logps, rollout.action_logps(model, said, True) * mask)
