"""PPO earns more of its reward model without going far from where it started, and says so when something is wired wrong."""

import copy
import dataclasses
import json
import shutil

import pytest
import torch

from chains.errors import ModelError, UsageError
from chains.models import registry
from chains.models.engine import Engine
from chains.models.scorer import Scorer, load_scorer
from tests import tiny
from tuning import actors, base, encode, formats, invariants, loop, losses, ppo, ptx, reward, rollout, sft, tokenizer
from tuning.compute import Compute
from tuning.optimizer import Optimizer

QUESTIONS = ["yes?", "no?", "maybe?", "What colour is the sky?", "공은 무슨 색인가요?"]
ANSWERS = ["good", "bad", "maybe", "thanks", "yes please"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home with a policy that gives any of five answers, and a reward model that likes the token 'good'."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder / "home"))
        tiny.starter()
        shown = [tiny.chat(question, answer) for question in QUESTIONS for answer in ANSWERS]
        data = tiny.write(folder / "shown.jsonl", shown)
        numbers = {"epochs": 12, "batch_size": 8, "learning_rate": 1e-2, "dropout": 0.0}
        policy = sft.train(sft.Config("starter", data, **numbers))
        ranked = [tiny.ranking(question, ANSWERS, [1, 2, 2, 2, 2]) for question in QUESTIONS]
        data = tiny.write(folder / "ranked.jsonl", ranked)
        judge = reward.train(reward.Config(policy.name, data, epochs=20, batch_size=5, learning_rate=3e-3))
    return folder / "home", policy.name, judge.name


@pytest.fixture
def config(made, home, tmp_path):
    """Four rounds of eight answers, in a home of the test's own."""
    models, policy, judge = made
    shutil.copytree(models / "models", home / "models")
    prompts = tiny.write(tmp_path / "prompts.jsonl", [tiny.chat(question, "ignored") for question in QUESTIONS])
    return ppo.Config(
        policy, judge, prompts, iterations=4, batch_size=8, minibatch_size=4, max_tokens=6, learning_rate=2e-3,
        value_learning_rate=2e-3, warmup_iterations=2, kl_coefficient=0.1, seed=1,
    )  # fmt: skip


def curve(entry):
    return [json.loads(line) for line in (entry.path / "metrics.jsonl").read_text().splitlines()]


def weights(entry):
    return (entry.path / "model.safetensors").read_bytes()


def answers(name, count=60):
    """Return `count` answers that the model samples to the prompts, from fixed seeds."""
    start = base.load(name)
    prompts = [
        encode.render(start.tokenizer, [{"role": "user", "content": QUESTIONS[n % 5]}], prompt=True)
        for n in range(count)
    ]
    return start.model, rollout.sample(Engine(start.model.eval(), start.tokenizer), prompts, 6, range(count))


def test_the_score_rises_and_the_kl_stays_bounded(config):
    longer = dataclasses.replace(config, iterations=25, batch_size=24, minibatch_size=12)
    entry = ppo.train(longer)
    scorer = load_scorer(config.reward_model)
    (start, before), (tuned, after) = answers(config.policy), answers(entry.name)
    scores = [sum(scorer.score_ids(said.rows)) / 60 for said in (before, after)]
    assert scores[1] > scores[0] + 1
    liked = [sum("good" in text for text in said.texts) for said in (before, after)]
    assert liked[1] > 2 * liked[0]
    with torch.no_grad():
        kl = (rollout.action_logps(tuned, after) - rollout.action_logps(start, after)).sum(dim=1).mean().item()
    assert 0.1 < kl < 5
    rounds = curve(entry)
    assert sum(m["score"] for m in rounds[-3:]) > sum(m["score"] for m in rounds[:3]) + 3
    assert rounds[-1]["kl"] < 5 and abs(rounds[0]["kl"]) < 1e-3


def test_the_model_lands_in_the_registry_with_both_parents(config):
    entry = ppo.train(config)
    assert entry.name.startswith("ft:starter:local:ppo:")
    assert entry.kind == "chat" and entry.meta["method"] == "ppo"
    assert entry.meta["parents"] == [config.policy, config.reward_model]
    assert list(entry.meta["data"]) == [config.prompts]
    assert weights(entry) != weights(registry.find(config.policy))


def test_another_seed_samples_other_answers(config, tmp_path):
    one = tiny.write(tmp_path / "one.jsonl", [tiny.chat("yes?", "ignored")])
    alike = dataclasses.replace(config, prompts=one, iterations=1)
    first, same, other = (curve(ppo.train(dataclasses.replace(alike, seed=seed)))[0] for seed in (1, 1, 2))
    assert first == same
    assert first["score"] != other["score"]


def test_the_policy_is_its_own_past_while_it_has_not_moved(config):
    whole = ppo.train(dataclasses.replace(config, minibatch_size=8))
    assert all(abs(m["approximate_kl"]) < 1e-9 and m["clipped"] == 0 for m in curve(whole))
    often = ppo.train(dataclasses.replace(config, epochs=3))
    assert curve(often)[-1]["approximate_kl"] > 1e-6


# What is known of a sampled answer


def rolled(config, max_tokens=6, some_end=False):
    """Return the models, the answers of a first round and its trajectory."""
    start, judge = base.load(config.policy), base.load(config.reward_model, kind="reward")
    policy, value = start.model.eval(), copy.deepcopy(judge.model).eval()
    models = actors.Actors(
        policy,
        copy.deepcopy(policy),
        value,
        Scorer(judge.model, judge.tokenizer, judge.meta["shift"]),
        Engine(policy, start.tokenizer),
        {"policy": Optimizer([policy]), "value": Optimizer([value])},
    )
    messages = [[{"role": "user", "content": question}] for question in QUESTIONS]
    prompts = [encode.render(start.tokenizer, one, prompt=True) for one in messages]
    said = rollout.sample(models.engine, prompts, max_tokens, range(5), logps=True)
    first = 0
    while some_end and len(set(said.ended.tolist())) == 1:
        first += 5
        said = rollout.sample(models.engine, prompts, max_tokens, range(first, first + 5), logps=True)
    return models, messages, said


def judged(models, said):
    return models.judge(said, missing_end_penalty=2.5)


def rewards_of(seen):
    return losses.penalised_rewards(seen.scores, seen.logps, seen.reference, seen.answers.mask, beta=0.1)


def checked(models, seen):
    invariants.check_first_round(seen, rewards_of(seen), models.engine.ends)


def test_an_answer_is_its_prompt_and_its_actions_the_end_among_them(config):
    models, messages, said = rolled(config, max_tokens=2, some_end=True)
    words = models.engine.tokenizer
    assert {0.0, 1.0} == set(said.ended.tolist())
    for row, prompt in enumerate(messages):
        length = len(encode.render(words, prompt, prompt=True))
        acted = said.rows[row][length:]
        assert said.mask[row].nonzero()[:, 0].tolist() == list(range(length, length + len(acted)))
        assert said.ids[row, : len(said.rows[row])].tolist() == said.rows[row]
        assert (acted[-1] == words.eos_token_id) == bool(said.ended[row])
        assert words.decode(acted).removesuffix("<|end|>") == said.texts[row]
    assert said.lengths.tolist() == [
        len(said.rows[row]) - len(encode.render(words, messages[row], True)) for row in range(5)
    ]


def test_what_a_row_samples_is_its_seeds_alone(config):
    models, _, said = rolled(config)
    prompts = [row[: int(mask.argmax())] for row, mask in zip(said.rows, said.mask, strict=True)]
    alone = rollout.sample(models.engine, prompts[3:4], 6, seeds=[3])
    assert alone.rows == said.rows[3:4]
    other = rollout.sample(models.engine, prompts, 6, seeds=range(50, 55))
    assert other.rows != said.rows


def test_the_score_is_the_reward_models_less_the_penalty_for_no_end(config):
    models, messages, said = rolled(config, max_tokens=2, some_end=True)
    seen = judged(models, said)
    for row in range(5):
        if said.ended[row]:
            expected = models.scorer.score(messages[row], said.texts[row])
        else:
            expected = models.scorer.score_ids([said.rows[row]])[0] - 2.5
        assert seen.scores[row].item() == pytest.approx(expected, abs=1e-5)


def test_log_probabilities_and_entropy_are_those_of_the_full_forward(config):
    models, _, said = rolled(config)
    logps, entropy = rollout.action_logps_and_entropy(models.policy, said)
    for row, ids in enumerate(said.rows):
        full = models.policy(torch.tensor([ids])).logits[0].log_softmax(-1)
        for t in said.mask[row].nonzero()[:, 0].tolist():
            assert logps[row, t].item() == pytest.approx(full[t - 1, ids[t]].item(), abs=1e-5)
            expected = torch.distributions.Categorical(logits=full[t - 1]).entropy().item()
            assert entropy[row, t].item() == pytest.approx(expected, abs=1e-5)
    assert not logps[said.mask == 0].any() and not entropy[said.mask == 0].any()


def test_a_part_of_a_trajectory_is_cut_to_its_longest_row(config):
    models, _, said = rolled(config)
    seen = judged(models, said)
    short = int(torch.tensor([len(row) for row in said.rows]).argmin())
    few = seen.at(torch.tensor([short]))
    assert few.answers.ids.tolist() == [said.rows[short]]
    width = len(said.rows[short])
    for part, all_of_it in [(few.logps, seen.logps), (few.reference, seen.reference), (few.values, seen.values)]:
        assert torch.equal(part, all_of_it[short : short + 1, :width])
    assert (few.scores.item(), few.answers.texts) == (seen.scores[short].item(), [said.texts[short]])
    assert few.kl.tolist() == seen.kl[short : short + 1].tolist()


# The first round's invariants, each broken on purpose


def test_a_first_round_that_is_wired_right_passes(config):
    models, _, said = rolled(config)
    seen = judged(models, said)
    checked(models, seen)


def test_another_reference_is_seen(config):
    models, _, said = rolled(config)
    with torch.no_grad():
        models.reference.transformer.h[0].mlp.c_fc.weight.add_(0.5)
    seen = judged(models, said)
    with pytest.raises(ModelError, match=r"the KL to the reference is not 0 .*the reference is another model"):
        checked(models, seen)


def test_the_engine_says_what_a_full_forward_does_and_a_part_keeps_it(config):
    models, _, said = rolled(config)
    for row, ids in enumerate(said.rows):
        full = models.policy(torch.tensor([ids])).logits[0].log_softmax(-1)
        for t in said.mask[row].nonzero()[:, 0].tolist():
            assert said.logps[row, t].item() == pytest.approx(full[t - 1, ids[t]].item(), abs=1e-5)
    assert not said.logps[said.mask == 0].any()
    part = said.at(torch.tensor([2]))
    assert torch.equal(part.logps, said.logps[2:3, : len(said.rows[2])])


@pytest.mark.parametrize("fault", ["dropout", "shifted positions", "an engine of other weights"])
def test_a_policy_that_does_not_say_what_was_sampled_is_seen(config, fault):
    models, _, said = rolled(config)
    for model in (models.policy, models.reference):  # the same in both: the KL is 0
        if fault == "dropout":
            base.set_dropout(model, 0.5)
            model.train()
        elif fault == "shifted positions":
            model.transformer.wpe.weight.data = model.transformer.wpe.weight.data.roll(1, 0)
        else:
            model.transformer.h[0].mlp.c_fc.weight.data.add_(0.05 * torch.randn(32, 128))
    torch.manual_seed(0)
    seen = judged(models, said)
    with pytest.raises(ModelError, match=r"the ratio to the policy that sampled is not 1 .*dropout is on, position"):
        checked(models, seen)


@pytest.mark.parametrize("minibatch", [4, 8], ids=["two minibatches", "one, whose forward is the recorded one"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_round_whose_policy_has_dropout_stops_the_run(config, monkeypatch, minibatch, dtype):
    real = actors.Actors.both

    def both(self, answers):
        model = self.compute("policy").model
        base.set_dropout(model, 0.5)
        self.policy.train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return real(self, answers)

    monkeypatch.setattr(actors.Actors, "both", both)
    with pytest.raises(ModelError, match="the ratio to the policy that sampled is not 1"):
        ppo.train(dataclasses.replace(config, minibatch_size=minibatch, dtype=dtype))


@pytest.mark.parametrize("fault", ["one token short", "one place early"])
def test_a_mask_without_the_end_token_is_seen(config, fault):
    models, _, said = rolled(config)
    assert said.ended.any()
    if fault == "one token short":
        last = losses.last_action(said.mask)[:, None]
        mask = said.mask.scatter(1, last, (said.lengths[:, None] == 1).long())
    else:
        mask = said.mask.roll(-1, dims=1)
    seen = judged(models, dataclasses.replace(said, mask=mask))
    with pytest.raises(
        ModelError, match=r"last action is not the end-of-turn token.*the mask leaves the end token out"
    ):
        checked(models, seen)


def test_an_answer_without_a_token_is_seen(config):
    models, _, said = rolled(config)
    mask = said.mask.clone()
    mask[2] = 0
    seen = judged(models, dataclasses.replace(said, mask=mask))
    with pytest.raises(ModelError, match="an answer has no token"):
        checked(models, seen)


@pytest.mark.parametrize("shift", [-1, 1], ids=["a place early", "a place late"])
def test_a_reward_off_its_place_is_seen(config, shift):
    models, _, said = rolled(config)
    seen = judged(models, said)
    with pytest.raises(ModelError, match="the score does not lie on each answer's last action alone"):
        invariants.check_first_round(seen, rewards_of(seen).roll(shift, dims=1), models.engine.ends)


# What is refused, and what changes the result


def test_another_vocabulary_is_refused(config):
    words = tokenizer.train(["a wholly other text"], 400, tiny.CONTEXT)
    words.save_pretrained(registry.find(config.reward_model).path)
    with pytest.raises(UsageError, match="have different vocabularies; train the reward model from the policy"):
        ppo.train(config)


def test_a_prompt_with_no_room_for_an_answer_is_named_by_its_line(config, tmp_path):
    length = len(encode.render(tiny.words(), [{"role": "user", "content": "yes " * 30}], prompt=True))
    path = tiny.write(tmp_path / "p.jsonl", [tiny.chat("yes", "no"), tiny.chat("yes " * 30, "no")])
    tight = dataclasses.replace(config, prompts=path, max_tokens=96 - length + 1)
    with pytest.raises(UsageError) as caught:
        ppo.train(tight)
    assert str(caught.value).startswith(f"{path}:2: the prompt is {length} tokens long and an answer may take ")


def test_pretraining_text_changes_the_result_by_its_weight(config, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(tiny.TEXTS * 3), encoding="utf-8")
    brief = dataclasses.replace(config, iterations=2)
    plain = ppo.train(brief)
    mixed = ppo.train(dataclasses.replace(brief, ptx=str(text)))
    assert weights(mixed) != weights(plain)
    assert list(mixed.meta["data"]) == [config.prompts, str(text)]
    nothing = ppo.train(dataclasses.replace(brief, ptx=str(text), ptx_coefficient=0.0))
    assert weights(nothing) == weights(plain)


def test_demonstrations_that_are_mixed_in_are_not_forgotten(config, tmp_path):
    """Their loss after PPO is lower with the mix than without, and the mix weighs what it is given."""
    path = tiny.write(tmp_path / "shown.jsonl", [tiny.chat(question, "yes no") for question in QUESTIONS])
    brief = dataclasses.replace(config, iterations=3, learning_rate=1e-3)
    rows = encode.examples(tiny.words(), formats.read_chat(path), path)
    losses_of = {}
    for weight in (None, 0.0, 2.0):
        given = {} if weight is None else {"ptx": path, "ptx_coefficient": weight}
        made = base.load(ppo.train(dataclasses.replace(brief, **given)).name)
        losses_of[weight] = sft.mean_loss(made.model, rows)
    assert losses_of[0.0] == losses_of[None]
    assert losses_of[2.0] < losses_of[None] - 0.01


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("한 줄".encode("euc-kr"), "is not UTF-8 (byte 0); save it as UTF-8 and try again"),
        (b"yes no", "holds 3 tokens; the pretraining mix needs more than 96"),
    ],
)
def test_a_pretraining_text_that_cannot_be_used_is_refused(config, tmp_path, raw, sentence):
    text = tmp_path / "text.txt"
    text.write_bytes(raw)
    with pytest.raises(UsageError) as caught:
        ppo.train(dataclasses.replace(config, ptx=str(text)))
    assert str(caught.value) == f"{text} {sentence}"


@pytest.mark.parametrize(
    ("kl", "target", "expected"),
    [
        (6.6, 6.0, 0.5 * 1.01),  # a tenth above the target
        (5.4, 6.0, 0.5 * 0.99),
        (60.0, 6.0, 0.5 * 1.02),  # the error is held at a fifth
        (0.0, 6.0, 0.5 * 0.98),
        (60.0, None, 0.5),
    ],
)
def test_beta_moves_towards_the_target(config, kl, target, expected):
    assert ppo.adapted(0.5, kl, dataclasses.replace(config, kl_target=target)) == pytest.approx(expected)


def test_beta_adapts_from_round_to_round(config):
    rounds = curve(ppo.train(dataclasses.replace(config, kl_target=50.0)))
    assert [m["beta"] for m in rounds] == pytest.approx([0.1 * 0.98**n for n in range(4)])
    assert {m["beta"] for m in curve(ppo.train(config))} == {0.1}


def test_a_high_price_of_kl_keeps_the_policy_near(config):
    longer = dataclasses.replace(config, iterations=10, batch_size=16, minibatch_size=16)
    cheap, dear = (curve(ppo.train(dataclasses.replace(longer, kl_coefficient=beta))) for beta in (0.0, 20.0))
    assert dear[-1]["kl"] < 0.5 * cheap[-1]["kl"]


def test_the_published_weights_are_their_average_over_the_steps(config):
    """decay^2 of the start, decay (1 - decay) of the weights after step 1, 1 - decay of those after step 2."""
    one, two = (dataclasses.replace(config, iterations=n, minibatch_size=8, learning_rate=0.05) for n in (1, 2))
    start, first, last = (
        base.load(name).model.state_dict() for name in (config.policy, *(ppo.train(c).name for c in (one, two)))
    )
    kept = base.load(ppo.train(dataclasses.replace(two, ema=0.75)).name).model.state_dict()
    for name, weight in kept.items():
        torch.testing.assert_close(weight, 0.5625 * start[name] + 0.1875 * first[name] + 0.25 * last[name])
    assert not torch.allclose(kept["transformer.wte.weight"], last["transformer.wte.weight"], atol=1e-3)


def test_eight_parts_of_a_mix_are_the_gradient_of_all_of_them(config, tmp_path):
    """C.4's accumulation: the parts' gradients add up to the coefficient x that of the mean loss of every example together."""
    path = tiny.write(tmp_path / "shown.jsonl", [tiny.chat("yes?", "no"), tiny.chat("no?", "yes")])
    policy = base.load(config.policy).model.eval()
    parts = ptx.mix(path, tiny.words(), 96, 2, 27.8, examples=8, seed=1)
    loss = parts.backward(Compute(policy), 3)
    found = policy.transformer.wte.weight.grad.clone()
    policy.zero_grad()
    rows = encode.examples(tiny.words(), formats.read_chat(path), path)
    means = []
    for number in range(24, 32):
        places = torch.randint(2, (2,), generator=torch.Generator().manual_seed(1_000_003 + number)).tolist()
        means.append(sft.demonstration_loss(policy, [rows[place] for place in places]))
    (27.8 * torch.stack(means).mean()).backward()
    torch.testing.assert_close(found, policy.transformer.wte.weight.grad)
    assert loss == pytest.approx(torch.stack(means).mean().item(), rel=1e-5)


def test_a_round_says_how_varied_its_answers_are_and_where_its_time_goes(config):
    entry = ppo.train(dataclasses.replace(config, watch_every=2))
    assert ["best_of_n" in m for m in curve(entry)] == [True, False, True, False]
    assert all(0 < m["distinct_2"] <= 1 for m in curve(entry))
    assert set(entry.meta["seconds"]) == {"rollout", "scoring", "forward", "backward", "optimiser", "watch"}
    quiet = ppo.train(dataclasses.replace(config, watch_every=0))
    assert weights(quiet) == weights(entry)  # looking changes nothing


class SaysGood:
    """A reward whose optimum is known: 1 for the answer `good` and nothing else."""

    def score_ids(self, rows):
        return [float(tiny.words().decode(ids).endswith("good<|end|>")) for ids in rows]


def scores_by_the_rule(config, rank=0, dtype="float32"):
    """Return the mean scores of thirty rounds in which `good` is the right answer."""
    wanted = dataclasses.replace(
        config, batch_size=24, minibatch_size=12, epochs=2, kl_coefficient=0.01, learning_rate=3e-3, watch_every=0,
        lora_rank=rank, dtype=dtype,
    )  # fmt: skip
    start, judge = base.load(config.policy), base.load(config.reward_model, kind="reward")
    models = dataclasses.replace(actors.made(start, judge, wanted), scorer=SaysGood())
    prompts = [encode.render(start.tokenizer, [{"role": "user", "content": q}], prompt=True) for q in QUESTIONS]
    training = ppo.Training(wanted, models, prompts, None)
    state = loop.State(models.modules, models.optimizers, {"beta": wanted.kl_coefficient})
    return [training.step(i, state)["score"] for i in range(30)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rule_whose_optimum_is_known_is_reached_and_kept(config, dtype):
    """In bfloat16 too: once all answers are right the advantages are rounding, which whitening must not blow up."""
    scores = scores_by_the_rule(config, dtype=dtype)
    assert scores[0] < 0.5
    assert sum(scores[-8:]) / 8 > 0.85  # 1 is the most there is; 24 samples a round


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_reaches_the_optimum_too(config, tmp_path, dtype):
    """On a base that is sure of what it says: see GRPO's test of the same name."""
    tiny.starter("sure", spread=0.2)
    data = tiny.write(tmp_path / "shown.jsonl", [tiny.chat(q, a) for q in QUESTIONS for a in ANSWERS])
    policy = sft.train(sft.Config("sure", data, epochs=12, batch_size=8, learning_rate=1e-2, dropout=0.0)).name
    scores = scores_by_the_rule(dataclasses.replace(config, policy=policy), rank=4, dtype=dtype)
    assert scores[0] < 0.5
    assert sum(scores[-8:]) / 8 > 0.85  # 1 is the most there is; 24 samples a round


def test_bfloat16_samples_and_learns_by_copies_of_float32_weights(config):
    start, judge = base.load(config.policy), base.load(config.reward_model, kind="reward")
    models = actors.made(start, judge, dataclasses.replace(config, dtype="bfloat16"))
    assert {p.dtype for name in ("policy", "value") for p in getattr(models, name).parameters()} == {torch.float32}
    asked = [encode.render(start.tokenizer, [{"role": "user", "content": QUESTIONS[0]}], prompt=True)]
    with torch.no_grad():
        models.policy.transformer.wte.weight.mul_(0)  # the weights of the moment: every token is as likely
    with models.answering() as engine:
        said = rollout.sample(engine, asked * 4, 6, range(4), temperature=0.0)
    assert not said.ids[said.mask.bool()].any()  # the first of equals
    seen = models.judge(said, 0.0)
    uniform = -torch.log(torch.tensor(float(len(start.tokenizer)))) * said.mask
    torch.testing.assert_close(seen.logps, uniform)
    both = [models.compute(name).model for name in ("policy", "value")]
    for model in (*both, models.reference, models.scorer.model):
        exact = [name for name, weight in model.named_parameters() if weight.dtype != torch.bfloat16]
        assert exact == (["score.weight"] if hasattr(model, "score") else [])


def test_a_run_in_bfloat16_is_published_in_float32(config):
    entry = ppo.train(dataclasses.replace(config, dtype="bfloat16", iterations=2))
    assert entry.meta["config"]["dtype"] == "bfloat16"
    assert {w.dtype for w in base.load(entry.name).model.parameters()} == {torch.float32}
    assert weights(entry) != weights(ppo.train(dataclasses.replace(config, iterations=2)))


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_adapter_in_bfloat16_learns_as_in_float32_and_is_published_over_float32(config, ema):
    """The base computes in bfloat16 and the adapter stays float32; what is not changed is the start to the bit."""
    brief = dataclasses.replace(config, lora_rank=2, iterations=2, learning_rate=1e-2, ema=ema)
    exact, half = (ppo.train(dataclasses.replace(brief, dtype=dtype)) for dtype in ("float32", "bfloat16"))
    first, second = (curve(entry)[0] for entry in (exact, half))
    assert abs(second["kl"]) < 1e-3 and second["score"] == pytest.approx(first["score"], abs=0.5)
    start, made = (base.load(name).model.state_dict() for name in (config.policy, half.name))
    changed = {name for name, weight in made.items() if not torch.equal(weight, start[name])}
    assert changed and all("attn" in name or "mlp" in name for name in changed)
    assert {weight.dtype for weight in made.values()} == {torch.float32}


def test_over_a_bfloat16_base_an_adapter_samples_by_the_weights_it_learns_with(config):
    start, judge = base.load(config.policy), base.load(config.reward_model, kind="reward")
    models = actors.made(start, judge, dataclasses.replace(config, lora_rank=2, dtype="bfloat16"))
    for name, weight in models.policy.named_parameters():
        assert weight.dtype == (torch.float32 if "lora_" in name else torch.bfloat16)
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5, generator=torch.Generator().manual_seed(len(name)))
    asked = [encode.render(start.tokenizer, [{"role": "user", "content": q}], prompt=True) for q in QUESTIONS]
    with models.answering() as engine:
        said = rollout.sample(engine, asked, 6, range(5), logps=True)
    seen = models.judge(said, 0.0)
    assert losses.masked_mean((seen.logps - said.logps).abs(), said.mask) < 0.05
    assert losses.masked_mean((seen.logps - seen.reference).abs(), said.mask) > 0.5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_forward_that_judges_a_whole_round_is_learned_from(config, dtype, monkeypatch):
    """One minibatch of all answers in order gives the same numbers as a forward of its own, and only the second epoch has one."""
    whole = dataclasses.replace(config, minibatch_size=8, epochs=2, dtype=dtype)
    start, judge = base.load(config.policy), base.load(config.reward_model, kind="reward")
    prompts = [encode.render(start.tokenizer, [{"role": "user", "content": q}], prompt=True) for q in QUESTIONS]
    training = ppo.Training(whole, actors.made(start, judge, whole), prompts, None)
    answers = training.rollout(0)
    seen, now = training.judged(answers)
    assert now.logps.requires_grad and not seen.logps.requires_grad
    again = training.models.both(answers)
    torch.testing.assert_close((now.logps, now.values), (again.logps, again.values))
    _, nothing = ppo.Training(config, training.models, prompts, None).judged(answers)
    assert nothing is None  # two minibatches a round
    calls = []
    monkeypatch.setattr(
        actors.Actors, "both", lambda self, each, real=actors.Actors.both: calls.append(1) or real(self, each)
    )
    state = loop.State(training.models.modules, training.models.optimizers, {"beta": 0.1})
    metrics = training.step(1, state)
    assert len(calls) == 2 and metrics["gradient_norm"] > 0
