"""Each number of a model against one that is known: a model that knows nothing, a model and itself, a text counted by hand."""

import copy
import math

import pytest
import torch

from chains.errors import UsageError
from chains.models import registry, weights
from chains.models.engine import Engine
from chains.models.scorer import Scorer
from tests import tiny
from tuning import encode, evaluate, reward, rollout
from tuning.base import Base

ROWS = [tiny.chat("yes?", "no good"), tiny.chat("공은 무슨 색인가요?", "빨간색이에요.")]


def knows_nothing():
    """A model under which every token is as likely as any other."""
    model = tiny.model()
    with torch.no_grad():
        for parameter in model.transformer.ln_f.parameters():
            parameter.zero_()
    return model


def scorer():
    return Scorer(reward.scalar_model(Base("tiny", tiny.model(), tiny.words(), 96, {}), 1, 0.0), tiny.words())


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large(tmp_path):
    with registry.publish("blank", {"kind": "chat"}) as folder, weights.quiet(bars=False):
        knows_nothing().save_pretrained(folder)
        tiny.words().save_pretrained(folder)
    path = tiny.write(tmp_path / "d.jsonl", ROWS)
    assert evaluate.perplexity("blank", path) == pytest.approx(len(tiny.words()), rel=1e-4)


def test_perplexity_is_of_the_answers_tokens_together(tmp_path):
    tiny.starter()
    path = tiny.write(tmp_path / "d.jsonl", ROWS)
    model, nats = tiny.model(), []
    for row in ROWS:
        ids = tiny.words().apply_chat_template(row["messages"], return_dict=False)
        logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        length = len(tiny.words().encode(row["messages"][1]["content"])) + 1
        nats += [-logps[t - 1, ids[t]].item() for t in range(len(ids) - length, len(ids))]
    assert evaluate.perplexity("starter", path) == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-4)


def test_a_row_that_cannot_be_measured_is_named(tmp_path):
    tiny.starter()
    path = tiny.write(tmp_path / "d.jsonl", [ROWS[0], tiny.chat("yes", "no " * 200)])
    with pytest.raises(UsageError, match=r"d\.jsonl:2: a row is \d+ tokens long"):
        evaluate.perplexity("starter", path)


def test_greedy_answers_are_those_of_transformers():
    model, words = tiny.model(spread=0.3), tiny.words()
    answers = evaluate.greedy_answers(Engine(model, words), ROWS, max_tokens=9)
    for row, answer in zip(ROWS, answers, strict=True):
        ids = torch.tensor([encode.render(words, row["messages"][:-1], prompt=True)])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False)
        assert answer == words.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_exact_share_counts_answers_that_are_the_same_but_for_case_and_space():
    assert evaluate.exact_share([" No  Good.", "파란색이에요."], ROWS) == 0.5
    assert evaluate.exact_share(["no", "빨"], ROWS, clean=lambda text: text[:1]) == 1.0


def answers(*said):
    """Answers of these tokens behind a prompt of two."""
    rows = [[1, 2, *tokens] for tokens in said]
    marks = [[0, 0, *[1] * len(tokens)] for tokens in said]
    return rollout.Answers(encode.pad(rows), encode.pad(marks), torch.ones(len(said)), rows, [""] * len(said))


def test_distinct_pairs_are_counted_over_all_answers():
    assert evaluate.distinct(answers([7, 8, 7, 8], [8, 7, 9]), 2) == 3 / 5  # 78 87 78, 87 79
    assert evaluate.distinct(answers([7], [8]), 2) == 0.0


def test_a_model_that_knows_nothing_has_full_entropy_and_no_kl_from_itself():
    model = knows_nothing()
    asked = []

    def judge(row, answer):
        asked.append((row, answer))
        return 0.25 * (row is ROWS[0])

    found = evaluate.quality(model, copy.deepcopy(model), scorer(), ROWS, judge, max_tokens=5, seed=3, samples=4)
    assert found.questions == 2
    assert found.entropy == pytest.approx(math.log(len(tiny.words())), rel=1e-5)
    assert found.kl == pytest.approx(0, abs=1e-5)
    assert (found.exact, found.sampled_exact) == (0, 0)
    assert found.judged == pytest.approx(0.125)
    assert [row for row, _ in asked] == [ROWS[0]] * 4 + [ROWS[1]] * 4
    assert found.distinct_2 > 0.9


def test_quality_is_the_seeds_and_kl_is_the_log_ratio_of_what_was_said():
    model, reference, judge = tiny.model(spread=0.3), tiny.model(seed=1, spread=0.3), scorer()

    def measure(seed):
        return evaluate.quality(model, reference, judge, ROWS, lambda row, answer: 0.0, 5, seed, samples=3)

    found = measure(2)
    assert measure(2) == found and measure(3) != found
    words, nats, scores = tiny.words(), [], []
    prompts = [encode.render(words, row["messages"][:-1], prompt=True) for row in ROWS for _ in range(3)]
    said = rollout.sample(Engine(model, words), prompts, 5, [2 * 2**32 + n for n in range(6)])
    for row, prompt in zip(said.rows, prompts, strict=True):
        ids = torch.tensor([row])
        own, other = (m(ids).logits[0].log_softmax(-1) for m in (model, reference))
        nats.append(sum((own - other)[t - 1, row[t]].item() for t in range(len(prompt), len(row))))
        scores.append(judge.score_ids([row])[0])
    assert found.kl == pytest.approx(sum(nats) / 6, rel=1e-4)
    assert found.reward == pytest.approx(sum(scores) / 6, rel=1e-4)
