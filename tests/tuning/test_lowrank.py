"""A LoRA layer with its change in the weight says, and learns, what peft's does."""

import copy

import pytest
import torch
from peft.tuners.lora import Linear

from chains.models import linear, products
from tests import tiny
from tuning import adapter, compute, lowrank

every_architecture = pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)


def adapted(architecture, half=False):
    """Return a model under an adapter that changes it, and the same by peft's own layers."""
    start = tiny.model(architecture, spread=0.1)
    linear.accelerate_learning(start)
    model = adapter.put_on(compute.half(start) if half else start, 4, 16, seed=1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    peft = copy.deepcopy(model)
    for module in peft.modules():
        if type(module) is lowrank.OneProduct:
            module.__class__ = Linear
    return model, peft


def learned(model):
    ids = torch.randint(0, 300, (3, 11), generator=torch.Generator().manual_seed(1))
    logits = model(ids).logits
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten()).backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("quick", [False, True], ids=["torch's products", "oneDNN's"])
@every_architecture
def test_logits_and_gradients_are_pefts(architecture, quick, monkeypatch):
    monkeypatch.setattr(products, "available", lambda: quick and torch.backends.mkldnn.is_available())
    monkeypatch.setattr(linear, "SMALLEST", 1)
    ours, peft = adapted(architecture)
    layers = [type(module) for module in ours.modules() if isinstance(module, Linear)]
    assert set(layers) == {lowrank.OneProduct}
    (logits, gradients), (expected, theirs) = learned(ours), learned(peft)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert set(gradients) == set(theirs) and all("lora_" in name for name in theirs)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-6)
    with ours.disable_adapter(), peft.disable_adapter():
        torch.testing.assert_close(learned_nothing(ours), learned_nothing(peft))


def learned_nothing(model):
    with torch.no_grad():
        return model(torch.tensor([[1, 2, 3]])).logits


@every_architecture
def test_over_a_bfloat16_base_the_adapter_stays_float32(architecture):
    ours, _ = adapted(architecture, half=True)
    exact, _ = adapted(architecture)
    (logits, gradients), (expected, theirs) = learned(ours), learned(exact)
    assert logits.dtype == torch.bfloat16 and {g.dtype for g in gradients.values()} == {torch.float32}
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()
    whole, its = (torch.cat([each[name].flatten() for name in theirs]) for each in (gradients, theirs))
    assert torch.nn.functional.cosine_similarity(whole, its, dim=0) > 0.995


@every_architecture
def test_the_weight_that_is_multiplied_is_the_one_that_is_published(architecture):
    ours, _ = adapted(architecture)
    weights = [lowrank.changed(module).detach() for module in ours.modules() if isinstance(module, Linear)]
    names = [name for name, module in ours.get_base_model().named_modules() if isinstance(module, Linear)]
    plain = adapter.merged(ours)
    for name, weight in zip(names, weights, strict=True):
        torch.testing.assert_close(plain.get_submodule(name).weight.detach(), weight)
