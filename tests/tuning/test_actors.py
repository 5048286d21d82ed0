"""PPO's models in their three arrangements: apart, the value on the policy's trunk, the policy as an adapter that can be switched off."""

import dataclasses

import pytest
import torch

from chains.models import linear
from tests import tiny
from tuning import actors, adapter, base, configs, losses, ppo, rollout

PROMPTS = [[tiny.words().encode(text)[0], 300 + n] for n, text in enumerate(("yes", "no", "maybe"))]
CONFIG = configs.PPOConfig("starter", "judge", "p.jsonl", batch_size=3, minibatch_size=3, max_tokens=5, seed=3)


@pytest.fixture(params=["gpt2", "llama"])
def loaded(request, home):
    tiny.starter(architecture=request.param)
    tiny.judge(architecture=request.param)
    return base.load("starter"), base.load("judge", kind="reward")


def said(models):
    with adapter.answering(models.engine, models.policy):
        return rollout.sample(models.engine, PROMPTS, 5, seeds=range(3))


def test_one_forward_says_what_two_do(loaded):
    models = actors.made(*loaded, dataclasses.replace(CONFIG, shared_trunk=True))
    torch.nn.init.normal_(models.value.weight, generator=torch.Generator().manual_seed(1))
    answers = said(models)
    now, (logps, entropy) = models.both(answers), models.logps(answers)
    torch.testing.assert_close(now.logps, logps)
    torch.testing.assert_close(now.entropy, entropy)
    for row, ids in enumerate(answers.rows):
        hidden = models.policy(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0]  # (T, D)
        for t in answers.mask[row].nonzero()[:, 0].tolist():
            assert now.values[row, t].item() == pytest.approx((models.value.weight[0] @ hidden[t - 1]).item(), abs=1e-4)
    assert not now.values[answers.mask == 0].any()


def test_a_shared_trunk_learns_both_by_one_step(loaded):
    config = dataclasses.replace(
        CONFIG, shared_trunk=True, warmup_iterations=0, learning_rate=3e-3, value_clip_range=9.0
    )
    models = actors.made(*loaded, config)
    training = ppo.Training(config, models, PROMPTS, None)
    seen, _ = training.judged(training.rollout(0))
    assert not seen.values.any()  # the head begins at 0
    returns = torch.full_like(seen.logps, 2.0) * seen.answers.mask
    before = [p.clone() for p in models.policy.parameters()]
    for number in range(30):
        learned = training.learn(seen, returns, returns, number, 1.0)
    assert any(not torch.equal(a, b) for a, b in zip(before, models.policy.parameters(), strict=True))
    assert learned["value_loss"] < 0.5 * 0.5 * 2.0**2
    with torch.no_grad():
        assert losses.masked_mean(models.values(seen.answers), seen.answers.mask).item() > 0.5


def test_an_adapter_that_is_off_is_the_policy_as_it_began(loaded):
    start = loaded[0].model
    kept = {name: weight.clone() for name, weight in start.state_dict().items()}
    models = actors.made(*loaded, dataclasses.replace(CONFIG, lora_rank=2))
    assert models.reference is None
    config = dataclasses.replace(CONFIG, lora_rank=2, learning_rate=0.05, warmup_iterations=0)
    training = ppo.Training(config, models, PROMPTS, None)
    seen, _ = training.judged(training.rollout(0))
    assert seen.kl.abs().max() < 1e-4
    for number in range(3):
        training.learn(seen, seen.answers.mask.float(), seen.values, number, 1.0)
    models.engine.weights_changed()
    moved = models.judge(seen.answers, 0.0)
    torch.testing.assert_close(moved.reference, seen.reference)
    assert (moved.logps - moved.reference).abs().max() > 0.05
    trained = [name for name, weight in models.policy.named_parameters() if weight.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    plain = adapter.merged(models.policy)
    assert set(plain.state_dict()) == set(kept)
    with torch.no_grad():
        torch.testing.assert_close(rollout.action_logps(plain, seen.answers), moved.logps, atol=1e-4, rtol=1e-4)
    changed = [name for name, weight in plain.state_dict().items() if not torch.equal(weight, kept[name])]
    assert changed and not any("norm" in name or "ln_" in name or "wte" in name for name in changed)


def is_likeliest(policy, drawn):
    """Check that every answer takes the policy's likeliest token each time."""
    for row, ids in enumerate(drawn.rows):
        logits = policy(torch.tensor([ids])).logits[0]
        for t in drawn.mask[row].nonzero()[:, 0].tolist():
            assert int(logits[t - 1].argmax()) == ids[t]


def test_the_engine_samples_from_the_adapter_and_the_base_stays_to_the_bit(loaded):
    models = actors.made(*loaded, dataclasses.replace(CONFIG, lora_rank=2))
    plain = rollout.sample(models.engine, PROMPTS, 5, range(3), temperature=0.0)
    for name, weight in models.policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=2.0, generator=torch.Generator().manual_seed(len(name)))
    kept = {name: weight.clone() for name, weight in models.policy.state_dict().items()}
    with adapter.answering(models.engine, models.policy):
        drawn = rollout.sample(models.engine, PROMPTS, 5, range(3), temperature=0.0)
    is_likeliest(models.policy, drawn)
    assert drawn.rows != plain.rows
    with pytest.raises(KeyError), adapter.answering(models.engine, models.policy):
        raise KeyError("whatever happens inside")
    assert all(torch.equal(weight, kept[name]) for name, weight in models.policy.state_dict().items())
    assert rollout.sample(models.engine, PROMPTS, 5, range(3), temperature=0.0).rows == plain.rows


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_packed_weights_follow_the_adapter(loaded, monkeypatch):
    monkeypatch.setattr(linear, "SMALLEST", 1)
    monkeypatch.setattr(linear, "worth_packing", lambda dtype: True)
    models = actors.made(*loaded, dataclasses.replace(CONFIG, lora_rank=2))
    assert models.engine.packs
    for seed in range(3):
        for name, weight in models.policy.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=2.0, generator=torch.Generator().manual_seed(seed + len(name)))
        with adapter.answering(models.engine, models.policy):
            drawn = rollout.sample(models.engine, PROMPTS, 5, range(3), temperature=0.0)
        is_likeliest(models.policy, drawn)


@pytest.mark.parametrize("arrangement", [{"shared_trunk": True}, {"lora_rank": 2, "learning_rate": 1e-2}], ids=str)
def test_each_arrangement_trains_to_a_model_that_loads(home, tmp_path, arrangement):
    tiny.starter()
    tiny.judge()
    prompts = tiny.write(tmp_path / "p.jsonl", [tiny.chat("yes?", "no")])
    entry = ppo.train(dataclasses.replace(CONFIG, prompts=prompts, iterations=2, **arrangement))
    made = base.load(entry.name).model
    assert type(made) is type(tiny.model())
    assert any(
        not torch.equal(a, b)
        for a, b in zip(made.state_dict().values(), tiny.model().state_dict().values(), strict=True)
    )
