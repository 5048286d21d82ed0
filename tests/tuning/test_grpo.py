"""GRPO and RLOO reach the known optimum of a rule from a fixed seed, and say what is wrong with their rewards."""

import dataclasses
import json
import shutil

import pytest
import torch

from chains.errors import ModelError, UsageError
from tests import tiny
from tuning import base, grpo, packing, rollout, sft

QUESTIONS = ["yes?", "no?", "maybe?"]
ANSWERS = ["good", "bad", "maybe", "thanks", "yes please"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with a policy that gives any of five answers."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder / "home"))
        tiny.starter()
        tiny.judge()
        data = tiny.write(folder / "shown.jsonl", [tiny.chat(q, a) for q in QUESTIONS for a in ANSWERS])
        policy = sft.train(sft.Config("starter", data, epochs=30, batch_size=8, learning_rate=1e-2, dropout=0.0))
    return folder / "home", policy.name


@pytest.fixture
def config(made, home, tmp_path):
    """Four rounds of three prompts with four answers each, in a home of the test's own; `good` is right for all of them."""
    models, policy = made
    shutil.copytree(models / "models", home / "models")
    prompts = tiny.write(tmp_path / "p.jsonl", [tiny.chat(question, "good") for question in QUESTIONS])
    return grpo.Config(
        policy, prompts, rule="exact", iterations=4, batch_size=3, group_size=4, minibatch_size=6, max_tokens=6,
        learning_rate=3e-3, warmup_iterations=2, seed=1,
    )  # fmt: skip


def curve(entry):
    return [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def weights(entry):
    return (entry.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("algorithm", "dtype"), [("grpo", "float32"), ("rloo", "float32"), ("grpo", "bfloat16")])
def test_the_known_optimum_of_a_rule_is_reached(config, algorithm, dtype):
    entry = grpo.train(
        dataclasses.replace(
            config,
            iterations=40,
            group_size=8,
            minibatch_size=12,
            epochs=3,
            algorithm=algorithm,
            dtype=dtype,
            learning_rate=1.5e-3,
        )
    )
    rewards = [m["reward"] for m in curve(entry)]
    assert rewards[0] < 0.5
    assert sum(rewards[-10:]) / 10 > 0.85  # 1 is the most there is; 24 samples a round
    assert abs(curve(entry)[0]["kl"]) < 1e-3


@pytest.mark.parametrize(("algorithm", "dtype"), [("grpo", "float32"), ("rloo", "float32"), ("grpo", "bfloat16")])
def test_an_adapter_reaches_the_optimum_too(config, tmp_path, algorithm, dtype):
    """On a base that is sure of what it says: an adapter leaves the last norm and the output head as they are, and they bound how sure it can get."""
    tiny.starter("sure", spread=0.2)
    data = tiny.write(tmp_path / "shown.jsonl", [tiny.chat(q, a) for q in QUESTIONS for a in ANSWERS])
    policy = sft.train(sft.Config("sure", data, epochs=30, batch_size=8, learning_rate=1e-2, dropout=0.0)).name
    numbers = {"iterations": 40, "group_size": 8, "minibatch_size": 12, "epochs": 3, "learning_rate": 1.5e-3}
    numbers |= {"dtype": dtype}
    entry = grpo.train(dataclasses.replace(config, policy=policy, algorithm=algorithm, lora_rank=4, **numbers))
    rewards = [m["reward"] for m in curve(entry)]
    assert rewards[0] < 0.5
    assert sum(rewards[-10:]) / 10 > 0.85


def test_an_adapter_is_its_own_reference_and_is_published_merged(config):
    entry = grpo.train(dataclasses.replace(config, lora_rank=4))
    made, start = base.load(entry.name).model, base.load(config.policy).model
    assert set(made.state_dict()) == set(start.state_dict())
    moved = {n for n, w in made.state_dict().items() if not torch.equal(w, start.state_dict()[n])}
    assert moved and all("attn" in name or "mlp" in name for name in moved)


def test_a_group_shares_its_prompt_and_no_two_answers_a_stream(config):
    training = grpo.made(dataclasses.replace(config, group_size=8))
    training.prompts = [(ids * 20)[:80] for ids in training.prompts]  # long enough to be worth keeping apart
    before = training.engine.stats()["prefix_tokens_reused"]
    answers, rewards = training.play(0)
    shared = training.engine.stats()["prefix_tokens_reused"] - before
    assert shared >= 7 * sum(len(ids) - 1 for ids in training.prompts)
    assert rewards.shape == (24,) and len({tuple(row) for row in answers.rows}) > 6
    for group in range(3):
        prompts = {
            tuple(row[: int(mask.argmax())])
            for row, mask in zip(
                answers.rows[group * 8 : group * 8 + 8], answers.mask[group * 8 : group * 8 + 8], strict=True
            )
        }
        assert len(prompts) == 1


def test_functions_of_the_callers_add_up_with_a_reward_model(config):
    both = dataclasses.replace(config, reward_model="judge", rule=None, iterations=1)
    asked = []

    def rule(row, answer):
        asked.append((row["messages"][0]["content"], answer))
        return 5.0

    alone = curve(grpo.train(both))[0]["reward"]
    entry = grpo.train(dataclasses.replace(both, suffix="two"), rewards=[rule])
    assert curve(entry)[0]["reward"] == pytest.approx(alone + 5, abs=1e-4)
    assert entry.meta["parents"] == [config.policy, "judge"]
    assert {question for question, _ in asked} == set(QUESTIONS) and len(asked) == 12


def test_a_stopped_run_goes_on_only_with_its_own_rewards(config, monkeypatch):
    monkeypatch.setattr("tuning.loop.CHECKPOINT_S", -1.0)
    plain = dataclasses.replace(config, rule=None)

    def short(row, answer):
        return -float(len(answer))

    def other(row, answer):
        return float(len(answer))

    def stop(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    whole = weights(grpo.train(plain, rewards=[short]))
    with pytest.raises(KeyboardInterrupt):
        grpo.train(plain, stop, rewards=[short])
    fresh, steps = [], []
    grpo.train(plain, lambda at: fresh.append(at.step), rewards=[other])
    assert fresh[0] == 1
    assert weights(grpo.train(plain, lambda at: steps.append(at.step), rewards=[short])) == whole
    assert steps[0] == 3


def test_an_answer_that_never_ends_is_worth_less(config):
    brief = dataclasses.replace(config, max_tokens=1, iterations=1, missing_end_penalty=2.5)
    (first,) = curve(grpo.train(brief))
    assert first["reward"] == pytest.approx(-2.5 * (1 - first["ended"])) and first["ended"] < 1
    assert curve(grpo.train(dataclasses.replace(brief, missing_end_penalty=0.0)))[0]["reward"] == 0


def test_another_reference_is_seen(config):
    training = grpo.made(config)
    with torch.no_grad():
        training.reference.transformer.h[0].mlp.c_fc.weight.add_(0.5)
    with pytest.raises(ModelError, match="the KL to the reference is not 0"):
        training.step(0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rule": None}, "there is no reward; give reward_model, rule or, in Python, rewards="),
        ({"rule": "near"}, "rule 'near' is unknown; use 'exact' or 'f1'"),
        ({"algorithm": "ppo"}, "algorithm 'ppo' is unknown; use 'grpo' or 'rloo'"),
    ],
)
def test_what_cannot_be_a_reward_is_refused(config, change, sentence):
    with pytest.raises(UsageError, match=sentence):
        grpo.train(dataclasses.replace(config, **change))


def test_a_rule_names_the_row_that_has_no_answer(config, tmp_path):
    rows = [tiny.chat("yes?", "good"), {"messages": [{"role": "user", "content": "no?"}]}]
    path = tiny.write(tmp_path / "half.jsonl", rows)
    with pytest.raises(UsageError, match=r"half\.jsonl:2: the rule 'exact' needs the right answer"):
        grpo.train(dataclasses.replace(config, prompts=path))


def test_a_group_is_learned_from_with_its_prompt_read_once(config, monkeypatch):
    training = grpo.made(dataclasses.replace(config, minibatch_size=12))
    answers, _ = training.play(0)
    read = []
    monkeypatch.setattr(
        packing, "arguments", lambda pack, real=packing.arguments: read.append(pack.ids.numel()) or real(pack)
    )
    with training.compute.reading() as policy:
        rollout.action_logps(policy, answers, training.compute.packed)
    prompts = {tuple(row[: int(mask.argmax())]) for row, mask in zip(answers.rows, answers.mask, strict=True)}
    assert len(prompts) == 3
    assert read == [sum(len(prompt) - 1 for prompt in prompts) + int(answers.lengths.sum())]
