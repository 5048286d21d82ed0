"""How a token is drawn: against a plain reference, transformers' own filters, and the row's seed alone."""

import math
from collections import Counter

import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from chains.errors import ModelError, UsageError
from chains.models.sampling import Chosen, Draw, Sampling, choose, generator

LOGITS = torch.tensor([math.log(p) for p in (0.05, 0.4, 0.02, 0.3, 0.13, 0.1)])


def draw(logits, count, **settings):
    """Return how often each token comes in `count` draws."""
    rows = [Draw(Sampling(seed=seed, **settings), ()) for seed in range(count)]
    return Counter(tokens(choose(logits.expand(count, -1), rows)))


def tokens(chosen):
    assert all(isinstance(one, Chosen) for one in chosen), chosen
    return [one.token for one in chosen]


def once(logits, prompt=(), **settings):
    """Return what one row with these settings chooses."""
    (one,) = choose(logits[None], [Draw(Sampling(**settings), prompt)])
    return one


def kept(logits, top_k, top_p):
    """A plain reference: of the top_k likeliest, the fewest whose share adds up to top_p."""
    ranked = sorted(range(len(logits)), key=lambda i: -logits[i])[: top_k or None]
    weights = [math.exp(logits[i]) for i in ranked]
    found, share = [], 0.0
    for token, weight in zip(ranked, weights, strict=True):
        if share >= top_p and top_p < 1:
            break
        found.append(token)
        share += weight / sum(weights)
    return set(found)


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (1, 1.0), (3, 1.0), (99, 1.0), (0, 0.39), (0, 0.41), (0, 0.75), (3, 0.85), (2, 0.5)]
)
def test_only_the_tokens_that_the_filters_keep_are_drawn_each_by_its_share(top_k, top_p):
    expected = kept(LOGITS.tolist(), top_k, top_p)
    counts = draw(LOGITS, 4000, top_k=top_k, top_p=top_p)
    assert set(counts) == expected
    total = sum(math.exp(LOGITS[token]) for token in expected)
    for token in expected:
        share = math.exp(LOGITS[token]) / total
        assert counts[token] / 4000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000) + 1e-9)


@pytest.mark.parametrize(
    ("top_k", "top_p", "temperature"), [(5, 0.6, 1.0), (0, 0.3, 0.7), (7, 1.0, 1.3), (4, 0.9, 2.0)]
)
def test_the_filters_keep_what_transformers_keeps(top_k, top_p, temperature):
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(5)) * 2
    scores = logits / temperature
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    for row in range(3):
        counts = draw(logits[row], 3000, top_k=top_k, top_p=top_p, temperature=temperature)
        allowed = scores[row].isfinite().nonzero()[:, 0].tolist()
        likely = [token for token in allowed if scores[row].softmax(-1)[token] > 0.01]
        assert set(likely) <= set(counts) <= set(allowed)


def test_a_row_draws_the_same_alone_and_in_a_batch():
    rows = [
        Sampling(seed=11),
        Sampling(temperature=0),
        Sampling(seed=12, top_k=5),
        Sampling(seed=13, top_p=0.5, temperature=1.7),
        Sampling(seed=14, min_p=0.1, repetition_penalty=1.3),
        Sampling(temperature=0, frequency_penalty=1.5, logprobs=True, top_logprobs=3),
        Sampling(seed=15, top_k=70, top_p=0.9, presence_penalty=-1, logit_bias={3: 2.5, 4: -100}, logprobs=True),
    ]
    logits = torch.randn(len(rows), 500, generator=torch.Generator().manual_seed(1))

    def turns(places):
        """Return what the rows at `places` draw together in ten turns."""
        own = [Draw(rows[place], (place, 7)) for place in places]
        return [choose(logits[places] * (turn + 1), own) for turn in range(10)]

    everyone = list(range(len(rows)))
    together = turns(everyone)
    for place in everyone:
        assert [turn[0] for turn in turns([place])] == [turn[place] for turn in together]
    assert [turn[::-1] for turn in turns(everyone[::-1])] == together


def test_every_bit_of_a_seed_counts():
    logits = torch.zeros(100000)
    seeds = [0, 1, 2**31, 2**32, 2**32 + 1, 2**63, 2**64 - 1, -1, -(2**63)]
    drawn = [once(logits, seed=seed).token for seed in seeds]
    assert len(set(drawn)) == len(seeds)
    assert drawn == [once(logits, seed=seed).token for seed in seeds]


def test_without_a_seed_every_stream_is_another():
    assert len({torch.rand((), generator=generator(None)).item() for _ in range(5)}) == 5


def test_greedy_takes_the_likeliest_and_a_cold_row_does_too():
    logits = torch.randn(6, 30, generator=torch.Generator().manual_seed(2)) * 300
    best = logits.argmax(-1).tolist()
    for temperature in (0, 1e-30, 1e-6):
        assert tokens(choose(logits, [Draw(Sampling(temperature=temperature, seed=4), ()) for _ in best])) == best


def test_the_log_probability_is_the_models_own_whatever_was_cut_off():
    logits = LOGITS.expand(3, -1)
    rows = [
        Sampling(temperature=0, logprobs=True),
        Sampling(top_k=1, temperature=5.0, seed=1, logprobs=True),
        Sampling(top_p=0.1, seed=2, logit_bias={1: 50}, logprobs=True),
    ]
    chosen = choose(logits, [Draw(row, ()) for row in rows])
    assert tokens(chosen) == [1, 1, 1]
    assert [one.logprob for one in chosen] == pytest.approx([math.log(0.4)] * 3)


def test_half_precision_logits_are_drawn_from_in_full():
    one = once(LOGITS.half(), temperature=0, logprobs=True)
    assert one.token == 1 and one.logprob == pytest.approx(math.log(0.4), abs=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("settings", [{"temperature": 0}, {"seed": 1}, {"temperature": 0, "logprobs": True}])
def test_logits_that_are_not_finite_are_the_models_fault_and_no_other_rows(value, settings):
    logits = torch.zeros(3, 5)
    logits[1, 3], logits[2, 4] = value, 9
    first, broken, last = choose(logits, [Draw(Sampling(**settings), ()) for _ in range(3)])
    assert isinstance(broken, ModelError) and "the model's logits are not finite" in str(broken)
    assert isinstance(first, Chosen) and last.token == 4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", 101),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_k", -1),
        ("seed", 2**64),
        ("seed", -(2**63) - 1),
        ("stop", ("a", "")),
    ],
)
def test_a_setting_out_of_its_range_is_refused(setting, value):
    with pytest.raises(UsageError, match=f"^{setting}=.* cannot be used; expected "):
        Sampling(**{setting: value})
