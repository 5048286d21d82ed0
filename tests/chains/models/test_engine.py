"""Tokens in, tokens out: a batch gives each row what it would get alone, in every architecture."""

import pytest
import torch

from chains.errors import ModelError, UsageError
from chains.models.engine import Completion, Engine, Request, Sampling
from tests import tiny

PROMPTS = [(9, 40, 71), (5,), tuple(range(10, 33)), (44, 45, 46, 47, 48, 49), (200, 30)]
every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


def sure(architecture="gpt2", seed=0):
    """A model whose greedy choices are not near-ties."""
    return tiny.model(architecture, seed, spread=0.3)


def greedy(max_tokens=12, **settings):
    return Sampling(max_tokens=max_tokens, temperature=0, **{"logprobs": True, **settings})


def tokens(completions):
    return [completion.token_ids for completion in completions]


@pytest.fixture
def engine():
    return Engine(sure(), tiny.words())


@pytest.fixture
def widths(monkeypatch):
    """Return a function that notes how many tokens each forward pass of an engine's model holds."""

    def watch(engine):
        seen = []

        def note(module, args, kwargs):
            seen.append(len(kwargs["packed_step"].ids))

        engine.model.register_forward_pre_hook(note, with_kwargs=True)
        return seen

    return watch


@every_architecture
def test_greedy_equals_transformers_generate(architecture):
    model = sure(architecture)
    done = Engine(model, tiny.words()).generate([Request(prompt, greedy()) for prompt in PROMPTS])
    for prompt, completion in zip(PROMPTS, done, strict=True):
        given = torch.tensor([prompt])
        out = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=12, do_sample=False)
        assert completion.token_ids == out[0, len(prompt) :].tolist()


@every_architecture
def test_a_batch_gives_what_each_row_gives_alone(architecture):
    engine = Engine(sure(architecture), tiny.words())
    requests = [Request(prompt, greedy(max_tokens=5 + 3 * place)) for place, prompt in enumerate(PROMPTS)]
    requests += [
        Request(prompt, Sampling(max_tokens=9, seed=place, logprobs=True)) for place, prompt in enumerate(PROMPTS)
    ]
    together = engine.generate(requests)
    for request, completion in zip(requests, together, strict=True):
        (alone,) = engine.generate([request])
        assert completion.token_ids == alone.token_ids
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert (completion.text, completion.finish_reason) == (alone.text, alone.finish_reason)


@every_architecture
def test_logprobs_are_the_models_own(architecture):
    model = sure(architecture)
    for completion, prompt in zip(
        Engine(model, tiny.words()).generate(
            [Request(p, Sampling(max_tokens=6, seed=2, top_k=3, logprobs=True)) for p in PROMPTS]
        ),
        PROMPTS,
        strict=True,
    ):
        row = [*prompt, *completion.token_ids]
        full = model(torch.tensor([row])).logits[0].log_softmax(-1)
        expected = [full[t - 1, row[t]].item() for t in range(len(prompt), len(row))]
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_the_number_of_rows_at_once_changes_nothing(engine, widths):
    requests = [Request(prompt, greedy()) for prompt in PROMPTS]
    whole = engine.generate(requests)
    few = Engine(sure(), tiny.words(), max_batch=2)
    seen = widths(few)
    assert tokens(few.generate(requests)) == tokens(whole)
    assert max(seen) < sum(map(len, PROMPTS)) and min(seen) <= 2


def test_a_finished_row_leaves_the_batch(engine, widths):
    seen = widths(engine)
    engine.generate(
        [Request(prompt, greedy(max_tokens=count)) for prompt, count in zip(PROMPTS, [4, 1, 2, 4, 2], strict=True)]
    )
    assert seen == [sum(map(len, PROMPTS)), 4, 2, 2]


def says(turns):
    """A model that after each token of `turns` says the token that it maps to, whatever came before."""
    model, words = sure(), tiny.words()
    with torch.no_grad():
        for block in model.transformer.h:
            block.attn.c_proj.weight.zero_(), block.mlp.c_proj.weight.zero_()
        model.transformer.wpe.weight.zero_()
        head = torch.zeros_like(model.lm_head.weight)
        for now, then in turns.items():
            embedding = model.transformer.wte.weight[words.convert_tokens_to_ids(now)]
            head[words.convert_tokens_to_ids(then)] = model.transformer.ln_f(embedding)
        model.lm_head.weight = torch.nn.Parameter(head)  # apart from the embedding
    return Engine(model, words)


def ids(*tokens):
    return tuple(tiny.words().convert_tokens_to_ids(tokens))


def test_the_end_token_ends_an_answer_and_is_no_text():
    engine = says({"a": "b", "b": "c", "c": "<|end|>"})
    (done,) = engine.generate([Request(ids("x", "a"), greedy())])
    assert done.token_ids == list(ids("b", "c", "<|end|>"))
    assert (done.text, done.finish_reason, len(done.logprobs)) == ("bc", "stop", 3)


def test_every_end_token_that_the_model_names_ends_an_answer(engine):
    (done,) = engine.generate([Request(PROMPTS[0], greedy())])
    model = sure()
    model.generation_config.eos_token_id = [399, done.token_ids[5]]
    (cut,) = Engine(model, tiny.words()).generate([Request(PROMPTS[0], greedy())])
    first = done.token_ids.index(done.token_ids[5])
    assert cut.token_ids == done.token_ids[: first + 1] and cut.finish_reason == "stop"


def test_ignored_ends_let_the_answer_go_on_to_its_length():
    engine = says({"a": "b", "b": "<|end|>", "<|end|>": "a"})
    (done,) = engine.generate([Request(ids("a"), greedy(max_tokens=5, ignore_ends=True))])
    assert done.token_ids == list(ids("b", "<|end|>", "a", "b", "<|end|>"))
    assert (done.text, done.finish_reason) == ("bab", "length")


def test_log_probabilities_come_only_where_they_are_asked_for(engine):
    plain, some, more = engine.generate(
        [
            Request(PROMPTS[0], Sampling(temperature=0, max_tokens=4)),
            Request(PROMPTS[0], greedy(max_tokens=4)),
            Request(PROMPTS[0], greedy(max_tokens=4, top_logprobs=2)),
        ]
    )
    assert plain.logprobs == plain.top_logprobs == some.top_logprobs == []
    assert [best[0][0] for best in more.top_logprobs] == more.token_ids
    assert [best[0][1] for best in more.top_logprobs] == pytest.approx(some.logprobs)
    assert {len(best) for best in more.top_logprobs} == {2}


def test_a_bias_on_a_token_that_is_not_there_is_refused_before_anything_runs(engine, widths):
    seen = widths(engine)
    with pytest.raises(UsageError, match="logit_bias names token 9999, and the model's tokens are 0 to 368"):
        engine.generate([Request((5, 6), Sampling(logit_bias={9999: 1}))])
    assert seen == []


def test_a_stop_text_over_the_border_of_two_tokens_ends_an_answer():
    engine = says({"a": "b", "b": "c", "c": "d", "d": "a"})
    stops = [("da",), ("xyz", "ax"), ()]
    requests = [Request(ids("a"), greedy(max_tokens=6, stop=stop)) for stop in stops]
    stopped, other, plain = engine.generate(requests)
    assert (stopped.text, stopped.finish_reason, len(stopped.token_ids)) == ("bc", "stop", 4)
    assert (other.text, other.finish_reason) == (plain.text, plain.finish_reason) == ("bcdabc", "length")


def test_an_answer_ends_where_the_context_does(engine):
    requests = [Request(tuple(range(10, 10 + 90)), greedy(max_tokens=50)), Request((5, 6), greedy(max_tokens=50))]
    long, short = engine.generate(requests)
    assert (len(long.token_ids), long.finish_reason) == (tiny.CONTEXT - 90, "length")
    assert len(short.token_ids) == 50
    assert tokens(engine.generate(requests[1:])) == [short.token_ids]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ((), "request 2 has an empty prompt; give at least one token"),
        ((7, 100_000), "request 2 has the token 100000 in its prompt, and the model's tokens are 0 to"),
        ((-1, 7), "request 2 has the token -1 in its prompt, and the model's tokens are 0 to"),
        (tuple([7] * 96), "the prompt is 96 tokens long and the model's context is 96; shorten the prompt"),
    ],
)
def test_a_prompt_that_cannot_be_answered_is_refused_before_anything_runs(engine, widths, prompt, sentence):
    seen = widths(engine)
    with pytest.raises(UsageError) as caught:
        engine.generate([Request((5, 6), greedy()), Request(prompt, greedy())])
    assert str(caught.value).startswith(sentence)
    assert seen == []


def test_weights_that_are_not_finite_are_the_models_fault(engine):
    with torch.no_grad():
        engine.model.transformer.h[1].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="its weights are broken or its training diverged"):
        engine.generate([Request((5, 6), greedy())])


def test_a_stream_is_the_completions_text_piece_by_piece(engine):
    for sampling in (greedy(), Sampling(max_tokens=20, seed=3), Sampling(max_tokens=20, seed=4, stop=("e",))):
        *pieces, last = engine.stream(Request(PROMPTS[0], sampling))
        (whole,) = engine.generate([Request(PROMPTS[0], sampling)])
        assert isinstance(last, Completion)
        assert "".join(pieces) == last.text == whole.text
        assert (last.token_ids, last.finish_reason) == (whole.token_ids, whole.finish_reason)
        assert last.logprobs == pytest.approx(whole.logprobs, abs=1e-4)
        assert all(pieces) and len(pieces) > 1


def test_new_weights_are_used_at_once(engine):
    requests = [Request(prompt, greedy()) for prompt in PROMPTS]
    old = engine.generate(requests)
    engine.model.load_state_dict(sure(seed=1).state_dict())
    engine.weights_changed()
    new = engine.generate(requests)
    assert new == Engine(sure(seed=1), tiny.words()).generate(requests) and new != old


def test_a_model_in_training_is_left_as_it_was(engine):
    expected = engine.generate([Request(PROMPTS[0], greedy())])
    for module in engine.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    engine.model.train()
    assert engine.generate([Request(PROMPTS[0], greedy())]) == expected
    assert engine.model.training
