"""Rows laid end to end say what each says alone, forward and backward, whatever the architecture."""

import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, MistralConfig, MistralForCausalLM

from chains.errors import ModelError
from tests import tiny
from tuning import packing

ROWS = [[11, 23, 5, 42, 17], [8, 99], [71, 6, 31, 44, 12, 90, 3]]
PROMPT, ANSWERS = [11, 23, 5, 42], [[17], [8, 99, 3], [71, 6]]
every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


def mistral():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=400, num_key_value_heads=2, sliding_window=3, initializer_range=0.3, **sizes)
    return MistralForCausalLM(config).eval()


def logits(model, pack):
    with packing.attending(model):
        return model(**packing.arguments(pack)).logits[0]


def check_rows(model):
    got = logits(model, packing.rows(ROWS))
    alone = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0] for row in ROWS]
    torch.testing.assert_close(got, torch.cat(alone), rtol=1e-4, atol=1e-4)


def check_branches(model):
    pack = packing.branches([(ROWS[0], ANSWERS[:1]), (PROMPT, ANSWERS)])
    got = logits(model, pack)[pack.ends]
    whole = [ROWS[0], ROWS[0] + ANSWERS[0], PROMPT, *(PROMPT + answer for answer in ANSWERS)]
    alone = [model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1] for row in whole]
    torch.testing.assert_close(got, torch.stack(alone), rtol=1e-4, atol=1e-4)


@every_architecture
def test_rows_do_not_see_each_other(architecture):
    check_rows(tiny.model(architecture, spread=0.3))


@every_architecture
def test_answers_see_their_prompt_and_no_other_answer(architecture):
    check_branches(tiny.model(architecture, spread=0.3))


def test_a_sliding_window_is_kept():
    model = mistral()
    check_rows(model)
    check_branches(model)


def test_a_row_longer_than_scores_are_kept_for_is_the_same(monkeypatch):
    monkeypatch.setattr(packing, "LONG", 3)
    for model in (tiny.model("llama", spread=0.3), mistral()):
        check_rows(model)
        check_branches(model)


@every_architecture
def test_gradients_are_those_of_the_rows_alone(architecture):
    packed, alone = (tiny.model(architecture, spread=0.3) for _ in range(2))
    logits(packed, packing.rows(ROWS)).logsumexp(-1).sum().backward()
    for row in ROWS:
        alone(input_ids=torch.tensor([row]), use_cache=False).logits[0].logsumexp(-1).sum().backward()
    for ours, theirs in zip(packed.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


@every_architecture
def test_every_architecture_here_reads_packs(architecture):
    model = tiny.model(architecture).train()
    kept = model.config._attn_implementation
    assert packing.refusal(model) is None
    assert model.training and model.config._attn_implementation == kept


def test_a_model_that_knows_no_positions_is_refused():
    """BLOOM's positions are in its attention (ALiBi), which packs do not give it."""
    model = BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4))
    assert packing.refusal(model).startswith("a packed forward ")


def test_attention_that_would_be_left_out_is_an_error():
    model = tiny.model("llama")
    with packing.attending(model), pytest.raises(ModelError, match="LlamaAttention needs more of its attention"):
        model(input_ids=torch.tensor([ROWS[0]]), use_cache=False)
