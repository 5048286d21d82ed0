"""What computes is fast and what is learned is exact: oneDNN's products and bfloat16 copies give the gradients of plain float32."""

import copy

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from chains.models import linear, products
from tests import tiny
from tuning import base, encode, sft
from tuning.compute import Compute, half

ROWS = [
    tiny.chat("What colour is the sky?", "The sky is blue."),
    tiny.chat("yes?", "no"),
    tiny.chat("공은?", "빨간색이에요."),
]
every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


@pytest.fixture
def quick(monkeypatch):
    """Small layers take oneDNN too, on any CPU that has it."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linear, "SMALLEST", 1)
    monkeypatch.setattr(products, "available", lambda: True)


def batch():
    return [encode.example(tiny.words(), row) for row in ROWS]


def gradients(model, **how):
    compute = Compute(model.train(), **how)
    loss = sft.learn(compute, batch())
    return loss, [p.grad for p in model.parameters()]


@pytest.mark.parametrize("bias", [True, False])
def test_a_quick_product_and_its_gradients_are_torchs(quick, bias):
    torch.manual_seed(0)
    plain = torch.nn.ModuleList([torch.nn.Linear(24, 40, bias=bias), Conv1D(56, 40)]).double()
    fast = copy.deepcopy(plain).float()
    assert linear.accelerate_learning(fast) == 2
    x = torch.randn(3, 5, 24, dtype=torch.double, requires_grad=True)
    y = x.detach().float().requires_grad_()
    for layers, start in ((plain, x), (fast, y)):
        layers[1](layers[0](start)).sin().sum().backward()
    torch.testing.assert_close(y.grad.double(), x.grad, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-4)


def test_a_frozen_weight_gets_no_gradient(quick):
    layer = torch.nn.Linear(8, 4).requires_grad_(False)
    assert linear.accelerate_learning(layer) == 1
    x = torch.randn(2, 8, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, 8))
    assert layer.weight.grad is None


@every_architecture
def test_the_fast_way_gives_the_plain_ways_loss_and_gradients(quick, architecture):
    expected, theirs = gradients(tiny.model(architecture, spread=0.1), packed=False)
    fast = tiny.model(architecture, spread=0.1)
    assert linear.accelerate_learning(fast)
    loss, ours = gradients(fast)
    assert loss == pytest.approx(expected, rel=1e-5)
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5)


@every_architecture
def test_bfloat16_gradients_lie_on_float32_weights(architecture):
    expected, theirs = gradients(tiny.model(architecture, spread=0.1), packed=False)
    model = tiny.model(architecture, spread=0.1)
    loss, ours = gradients(model, dtype="bfloat16")
    assert loss == pytest.approx(expected, rel=2e-2) and loss != expected
    assert {p.dtype for p in model.parameters()} == {torch.float32} == {g.dtype for g in ours}
    whole, its = (torch.cat([g.flatten() for g in each]) for each in (ours, theirs))
    assert torch.nn.functional.cosine_similarity(whole, its, dim=0) > 0.999


def test_the_copy_that_computes_has_the_weights_of_the_moment_and_float32_buffers():
    model = tiny.model("llama")
    compute = Compute(model, "bfloat16")
    with torch.no_grad():
        model.lm_head.weight.fill_(1.5)
    with compute.working() as working:
        assert working is not model and working.lm_head.weight.dtype == torch.bfloat16
        assert (working.lm_head.weight == 1.5).all()
        assert {buffer.dtype for buffer in working.buffers()} == {torch.float32}  # rotary frequencies


def test_a_scalar_head_reads_a_bfloat16_trunk_in_float32(home):
    tiny.judge()
    model = base.load("judge", kind="reward").model
    torch.nn.init.constant_(model.score.weight, 1.0)
    copied = half(model)
    with torch.no_grad():
        hidden = copied.base_model(torch.tensor([[1, 2, 3]])).last_hidden_state
        assert hidden.dtype == torch.bfloat16
        assert torch.equal(copied.score(hidden)[..., 0], hidden.float().sum(dim=-1))


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("packed", [True, False])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(parts, packed):
    whole, few = tiny.model(spread=0.1), tiny.model(spread=0.1)
    expected = sft.learn(Compute(whole, packed=packed), batch())
    assert sft.learn(Compute(few, packed=packed), batch(), parts) == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(few.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@every_architecture
def test_activations_computed_again_give_the_same_gradients(architecture):
    calls = []
    model = tiny.model(architecture, spread=0.1)
    layers = next(each for each in model.modules() if isinstance(each, torch.nn.ModuleList))
    layers[0].register_forward_pre_hook(lambda *_: calls.append(1))
    loss, ours = gradients(model, recompute=True)
    expected, theirs = gradients(tiny.model(architecture, spread=0.1))
    assert loss == expected and len(calls) > 2  # the trial of packs makes two or three, without gradients
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its)


def test_a_model_that_cannot_read_packs_is_padded_and_says_so(monkeypatch):
    monkeypatch.setattr("tuning.packing.refusal", lambda model: "a packed forward is off by 3")
    with pytest.warns(UserWarning, match="GPT2LMHeadModel is trained with padding: a packed forward is off by 3"):
        compute = Compute(tiny.model())
    assert not compute.packed and sft.learn(compute, batch()) > 0
