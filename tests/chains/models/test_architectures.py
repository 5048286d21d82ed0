"""Every causal model of transformers is served: packed where it hands its attention over, row by row where it does not."""

import copy

import pytest
import torch
import transformers
from torch import nn

from chains.models import compiled, linear
from chains.models.engine import Engine, Request, Sampling
from tests import tiny

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}
PROMPTS = [(9, 40, 71), (5,), tuple(range(10, 50)), (44, 45, 46, 47, 48, 49), (*range(10, 48), 7, 8)]


def build(name, **config):
    """Return a random model of an architecture, and what it is made of where that differs from SIZES."""
    words = tiny.words()
    ends = {"bos_token_id": None, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    sizes = {key: value for key, value in {**SIZES, **config}.items() if value is not None}
    torch.manual_seed(5)
    made = getattr(transformers, f"{name}Config")(vocab_size=len(words), **sizes, **ends)
    class_name = {"OpenAIGPT": "OpenAIGPTLMHeadModel", "GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    return getattr(transformers, class_name)(made).eval()


GPT = {"hidden_size": None, "intermediate_size": None, "num_hidden_layers": None, "num_attention_heads": None}
PACKED = {
    "llama, grouped queries": ("Llama", {"num_key_value_heads": 2}),
    "qwen2, biases": ("Qwen2", {"num_key_value_heads": 2}),
    "qwen3, wide heads and their norms": ("Qwen3", {"num_key_value_heads": 1, "head_dim": 16}),
    "gpt-neox, part of a head is rotated": ("GPTNeoX", {"rotary_pct": 0.5}),
    "gpt-2": ("GPT2", {**GPT, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "mistral, a sliding window": ("Mistral", {"num_key_value_heads": 2, "sliding_window": 6}),
    "gemma2, soft caps and windows in turn": (
        "Gemma2",
        {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 6, "attn_logit_softcapping": 5.0},
    ),
    "phi, a layer norm beside": ("Phi", {}),
    "opt, positions with an offset": (
        "OPT",
        {"ffn_dim": 48, "intermediate_size": None, "initializer_range": None, "init_std": 0.3},
    ),
}
PLAIN = {
    "openai-gpt, no cache at all": (
        "OpenAIGPT",
        {**GPT, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96},
        False,
    ),
    "bloom, positions in its own attention": ("Bloom", {"n_head": 4, "num_attention_heads": None, "n_layer": 2}, True),
    "mamba, a state instead of attention": ("Mamba", {"num_attention_heads": None, "intermediate_size": None}, False),
    "gpt-j, attention of its own": ("GPTJ", {**GPT, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}, True),
}


def expected(model, prompt, count):
    """What the model says greedily by whole forwards: the slow reference."""
    row = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    return row[len(prompt) :]


def check(model, engine):
    requests = [Request(prompt, Sampling(max_tokens=12, temperature=0, ignore_ends=True)) for prompt in PROMPTS]
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        assert completion.token_ids == expected(model, request.prompt_ids, 12)


@pytest.mark.parametrize("case", PACKED)
def test_a_model_that_hands_its_attention_over_runs_packed(case):
    name, config = PACKED[case]
    model = build(name, **config)
    engine = Engine(model, tiny.words())
    assert engine.slow is None
    check(model, engine)


@pytest.mark.parametrize("case", PACKED)
def test_where_the_compiled_loops_do_not_serve_torch_gives_the_same(case, monkeypatch):
    """As on a GPU, and in float16: attention through torch alone."""
    name, config = PACKED[case]
    model = build(name, **config)
    monkeypatch.setattr(compiled, "fits", lambda *tensors: False)
    engine = Engine(model, tiny.words())
    assert engine.slow is None
    check(model, engine)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
        pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")),
    ],
)
@pytest.mark.parametrize("case", PACKED)
def test_a_gpu_gives_what_the_cpu_gives(case, device):
    name, config = PACKED[case]
    model = build(name, **config)
    there = Engine(copy.deepcopy(model).to(device), tiny.words())
    assert there.slow is None
    check(model, there)


@pytest.mark.parametrize("case", PLAIN)
def test_another_model_runs_row_by_row_and_says_why(case):
    name, config, caches = PLAIN[case]
    model = build(name, **config)
    engine = Engine(model, tiny.words())
    assert engine.slow and engine._runner.caches == caches
    check(model, engine)


def test_bfloat16_is_close_to_what_the_model_gives_alone():
    model = build("Llama", num_key_value_heads=2).to(torch.bfloat16)
    engine = Engine(model, tiny.words())
    assert engine.slow is None
    (done,) = engine.generate([Request(PROMPTS[2], Sampling(max_tokens=8, temperature=0, logprobs=True))])
    row = torch.tensor([[*PROMPTS[2], *done.token_ids]])
    with torch.no_grad():
        logps = model(row).logits[0].float().log_softmax(-1)
    for place, (token, logprob) in enumerate(zip(done.token_ids, done.logprobs, strict=True), len(PROMPTS[2]) - 1):
        assert logprob == pytest.approx(logps[place, token].item(), abs=0.25)


@pytest.fixture
def packed(monkeypatch):
    """Pack every weight, however small and whatever the probe says."""
    monkeypatch.setattr(linear, "SMALLEST", 1)
    monkeypatch.setattr(linear, "worth_packing", lambda dtype: True)


needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("name", ["GPT2", "Llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights_give_what_plain_ones_give(packed, name, dtype):
    plain = build(name, **({**GPT, "n_embd": 32, "n_layer": 2, "n_head": 4} if name == "GPT2" else {})).to(dtype)
    quick = copy.deepcopy(plain)
    assert linear.accelerate(quick) == sum(
        type(m) is nn.Linear or isinstance(m, transformers.pytorch_utils.Conv1D) for m in plain.modules()
    )
    row = torch.tensor([PROMPTS[2]])
    with torch.inference_mode(), linear.serving():
        served = quick(row).logits
        close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.1}
        torch.testing.assert_close(served, plain(row).logits, **close)


@needs_onednn
def test_training_and_copying_see_the_weights_themselves(packed):
    model = build("GPT2", **GPT, n_embd=32, n_layer=2, n_head=4)
    state = copy.deepcopy(model.state_dict())
    linear.accelerate(model)
    row = torch.tensor([PROMPTS[2]])
    with torch.inference_mode(), linear.serving():
        before = model(row).logits
    assert list(model.state_dict()) == list(state)
    model(row).logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    with torch.inference_mode(), linear.serving():
        after = model(row).logits
        twin = copy.deepcopy(model)(row).logits
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, model(row).logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(twin, after)


def test_rows_of_several_adapters_share_one_base():
    peft = pytest.importorskip("peft")
    base = build("Llama", num_key_value_heads=2)
    expected_of = {None: base}
    config = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    for number, name in enumerate(("one", "two")):
        torch.manual_seed(number)
        expected_of[name] = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**config)).merge_and_unload()
    torch.manual_seed(0)
    shared = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**config), adapter_name="one")
    torch.manual_seed(1)
    shared.add_adapter("two", peft.LoraConfig(**config))
    engine = Engine(shared.eval(), tiny.words())
    assert engine.slow is None
    names = [None, "one", "two", "one", None]
    greedy = Sampling(max_tokens=10, temperature=0, ignore_ends=True)
    requests = [Request(prompt, greedy, adapter=name) for prompt, name in zip(PROMPTS, names, strict=True)]
    for request, completion in zip(requests, engine.generate(requests), strict=True):
        assert completion.token_ids == expected(expected_of[request.adapter].eval(), request.prompt_ids, 10)


@needs_onednn
def test_a_model_that_only_serves_gives_up_its_plain_weights(packed):
    plain = build("GPT2", **GPT, n_embd=32, n_layer=2, n_head=4)
    quick = copy.deepcopy(plain)
    linear.accelerate(quick, keep=False)
    check(plain, Engine(quick, tiny.words()))
    assert quick.transformer.h[0].mlp.c_fc.weight.untyped_storage().nbytes() == 4
    assert not quick.transformer.wte.weight.isnan().any()  # tied: the embedding needs it
    with pytest.raises(TypeError, match="has given up its plain weights and cannot be copied"):
        copy.deepcopy(quick)
