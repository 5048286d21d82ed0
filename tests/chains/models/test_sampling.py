"""How a token is drawn: against a plain reference, transformers' own filters, and the row's seed alone."""

import math
from collections import Counter

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

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


def slowly(logits, prompt, seed, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repetition_penalty=1.0):
    """The token that transformers' processors leave at the row's uniform number, in the vocabulary's order."""
    scores = logits[None].double()
    if repetition_penalty != 1:
        scores = RepetitionPenaltyLogitsProcessor(repetition_penalty)(torch.tensor([prompt]), scores)
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    if min_p:
        scores = MinPLogitsWarper(min_p)(None, scores)
    total = scores[0].softmax(-1).cumsum(-1)
    uniform = torch.rand((), generator=generator(seed), dtype=torch.float64)
    return int((total <= uniform * total[-1]).sum())


@pytest.mark.parametrize("size", [40, 3000], ids=["fewer tokens than are looked at first", "more"])
@pytest.mark.parametrize("spread", [0.3, 2.0, 8.0], ids=["a wide nucleus", "one between", "a narrow one"])
@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 5},
        {"top_k": 700},
        {"top_p": 0.9},
        {"top_p": 0.35, "temperature": 0.7},
        {"min_p": 0.2},
        {"min_p": 0.01, "temperature": 1.5},
        {"top_k": 30, "top_p": 0.8},
        {"top_k": 900, "top_p": 0.97},
        {"top_k": 300, "min_p": 0.5},
        {"top_k": 7, "top_p": 0.9, "min_p": 0.05, "temperature": 1.3, "repetition_penalty": 1.4},
        {"repetition_penalty": 0.7},
    ],
    ids=str,
)
def test_a_row_draws_what_transformers_processors_leave(settings, size, spread):
    logits = torch.randn(60, size, generator=torch.Generator().manual_seed(size)) * spread
    prompts = [(seed % size, 3, 3, 17) for seed in range(60)]
    drawn = choose(logits, [Draw(Sampling(seed=seed, **settings), prompts[seed]) for seed in range(60)])
    settings = {**settings, "top_k": min(settings.get("top_k", 0), size)}
    assert tokens(drawn) == [slowly(logits[seed], prompts[seed], seed, **settings) for seed in range(60)]


def test_a_token_that_ties_with_the_last_one_kept_is_kept():
    """As transformers' top-k does it; half-precision logits tie all the time."""
    logits = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 0.0]).log()
    assert set(draw(logits, 300, top_k=2)) == {1, 2, 3, 4}
    assert set(draw(logits, 300, top_p=0.31)) == {1, 2, 3, 4}  # 0.3 is not enough
    assert set(draw(logits, 300, top_p=0.29)) == {1}


def test_the_answers_own_tokens_are_penalised_as_openai_says():
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, by hand: 4.0, then 4.0 - 1.25, then 4.0 - 1.75 meet 2.5."""
    logits = torch.tensor([0.0, 4.0, 2.5])
    row = Draw(Sampling(temperature=0, presence_penalty=0.75, frequency_penalty=0.5), (1, 1, 1))
    assert [tokens(choose(logits[None], [row]))[0] for _ in range(4)] == [1, 1, 2, 1]
    # after 1, 1, 2: 4.0 - 1.75 = 2.25 against 2.5 - 1.25 = 1.25
    eager = Draw(Sampling(temperature=0, presence_penalty=-2.0), ())
    assert [tokens(choose(torch.tensor([[1.0, 2.0, 2.9]]), [eager]))[0] for _ in range(2)] == [2, 2]


def test_a_repetition_penalty_counts_the_prompt_and_the_answer():
    row = Draw(Sampling(temperature=0, repetition_penalty=2.0), (0,))
    logits = torch.tensor([[3.0, 2.0, 1.1]])  # 1.5 for the prompt's token; then 1.0 for the next, and so on
    assert [tokens(choose(logits, [row]))[0] for _ in range(2)] == [1, 0]
    below = Draw(Sampling(temperature=0, repetition_penalty=2.0), (0,))
    assert tokens(choose(torch.tensor([[-1.0, -1.5, -3.0]]), [below])) == [1]


def test_a_bias_is_added_and_minus_100_bans():
    logits = torch.tensor([0.0, 500.0, 1.0])
    assert once(logits, temperature=0, logit_bias={1: -100}).token == 2
    assert once(logits, temperature=0, logit_bias={1: -99}).token == 1
    assert set(draw(torch.zeros(4), 200, logit_bias={0: 100})) == {0}
    assert set(draw(torch.zeros(4), 200, logit_bias={0: -100, 3: -100}, top_k=3)) == {1, 2}
    counts = draw(torch.zeros(2), 4000, logit_bias={1: math.log(3)})
    assert counts[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_a_bias_that_cannot_be_is_said_so():
    (one,) = choose(torch.zeros(1, 3), [Draw(Sampling(logit_bias={3: 1}), ())])
    assert str(one) == "logit_bias names token 3, and the model's tokens are 0 to 2"
    (one,) = choose(torch.zeros(1, 2), [Draw(Sampling(logit_bias={0: -100, 1: -100}), ())])
    assert isinstance(one, ModelError) and "no token may come next" in str(one)


def test_a_token_that_the_model_rules_out_is_never_drawn():
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.5])
    for settings in ({}, {"top_k": 3}, {"top_p": 0.99}, {"min_p": 0.01}):
        assert set(draw(logits, 200, **settings)) == {1, 3}


def test_the_likeliest_tokens_come_with_their_log_probabilities():
    one = once(LOGITS, temperature=0, logprobs=True, top_logprobs=3)
    assert [token for token, _ in one.top] == [1, 3, 4]
    assert [logp for _, logp in one.top] == pytest.approx([math.log(p) for p in (0.4, 0.3, 0.13)])
    assert once(LOGITS, temperature=0, logprobs=True).top == ()
    assert once(LOGITS, temperature=0) == Chosen(1, None, ())
    assert len(once(LOGITS, seed=1, logprobs=True, top_logprobs=20).top) == 6


def test_the_logits_stay_as_they_are():
    logits = LOGITS.repeat(3, 1)
    rows = [Sampling(seed=1, temperature=0.3), Sampling(temperature=0, logit_bias={1: -100}), Sampling(top_p=0.5)]
    choose(logits, [Draw(row, ()) for row in rows])
    assert torch.equal(logits, LOGITS.repeat(3, 1))


def test_settings_can_be_compared_and_kept_in_a_set():
    assert Sampling(logit_bias={1: 2.0}) == Sampling(logit_bias={1: 2.0}) != Sampling(logit_bias={1: 3.0})
    assert len({Sampling(logit_bias={1: 2.0}), Sampling(logit_bias={1: 2.0}), Sampling()}) == 2


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
        ("min_p", 1.1),
        ("min_p", float("nan")),
        ("repetition_penalty", 0.0),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("logit_bias", {3: 101}),
        ("logit_bias", {-1: 0}),
        ("top_logprobs", 5),
    ],
)
def test_a_setting_out_of_its_range_is_refused(setting, value):
    with pytest.raises(UsageError, match=f"^{setting}=.* cannot be used; expected "):
        Sampling(**{setting: value})
