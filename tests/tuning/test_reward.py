"""A reward model learns who is better, its scores average 0 on demonstrations, and nothing but the answer moves them."""

import copy
import json
import math

import pytest
import torch

from chains.errors import UsageError
from chains.home import home
from chains.models import registry
from chains.models.scorer import Scorer, load_scorer
from tests import tiny
from tuning import encode, reward
from tuning.base import Base

QUESTIONS = [
    "What colour is the sky?",
    "What colour is the grass?",
    "공은 무슨 색인가요?",
    "몇 명이 뛰나요?",
    "yes?",
    "no?",
]
BEST, MIDDLE, WORST = ("good please", "please good"), ("maybe", "yes maybe"), ("bad no", "no bad")


def rankings(questions, variant):
    """Return rankings of three answers, listed in another order each time."""
    rows = []
    for place, question in enumerate(questions):
        listed = [(BEST[variant], 1), (MIDDLE[variant], 2), (WORST[variant], 3)]
        listed = listed[place % 3 :] + listed[: place % 3]
        rows.append(tiny.ranking(question, [answer for answer, _ in listed], [rank for _, rank in listed]))
    return rows


def make(tmp_path, rows, **numbers):
    data = tiny.write(tmp_path / "rankings.jsonl", rows)
    usual = {"epochs": 12, "batch_size": 2, "learning_rate": 5e-3, "seed": 1}
    return reward.Config("starter", data, **{**usual, **numbers})


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A reward model of an easy preference: (entry, scorer, demonstrations), made in a home of its own."""
    tmp_path = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(tmp_path / "home"))
        tiny.starter()
        demonstrations = [tiny.chat(question, "yes, maybe good") for question in QUESTIONS]
        config = make(
            tmp_path,
            rankings(QUESTIONS, 0) + rankings(QUESTIONS, 1),
            validation=tiny.write(tmp_path / "held.jsonl", rankings(["thanks?", "maybe?", "good?", "bad?"], 1)),
            demonstrations=tiny.write(tmp_path / "shown.jsonl", demonstrations),
        )
        entry = reward.train(config)
        return entry, load_scorer(entry.name), demonstrations


def test_an_easy_preference_is_learned_and_held_out_pairs_are_right(learned):
    entry, _, _ = learned
    assert entry.meta["held_out_pairs"] == 4 * 3
    assert entry.meta["held_out_pair_accuracy"] > 0.9
    curve = (entry.path / "metrics.jsonl").read_text().splitlines()
    assert len(curve) == 12 * 6 and json.loads(curve[-1])["loss"] < 0.2 * json.loads(curve[0])["loss"]


def test_the_entry_is_a_reward_model_with_its_lineage(learned):
    entry, _, _ = learned
    assert entry.name.startswith("ft:starter:local:rm:")
    assert (entry.kind, entry.meta["method"], entry.meta["parents"]) == ("reward", "reward", ["starter"])
    assert len(entry.meta["data"]) == 3


def test_demonstrations_average_zero(learned):
    entry, scorer, demonstrations = learned
    scores = [scorer.score(row["messages"][:-1], row["messages"][-1]["content"]) for row in demonstrations]
    assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-4)
    assert max(scores) - min(scores) > 1e-3 and abs(entry.meta["shift"]) > 1e-3


def test_without_demonstrations_the_best_answers_average_zero(tmp_path):
    tiny.starter()
    rows = rankings(QUESTIONS, 0)
    scorer = load_scorer(reward.train(make(tmp_path, rows, epochs=1)).name)
    scores = [scorer.score(row["input"]["messages"], BEST[0]) for row in rows]
    assert sum(scores) / len(scores) == pytest.approx(0, abs=1e-4)


def test_a_score_depends_on_its_own_row_alone(learned):
    entry, scorer, _ = learned
    pairs = [
        ([{"role": "user", "content": "maybe " * n}], "good " * m)
        for n, m in [(1, 30), (20, 1), (4, 7), (9, 2), (30, 9)]
    ]
    alone = [scorer.score(*pair) for pair in pairs]
    for size in (2, 64):
        batched = Scorer(scorer.model, scorer.tokenizer, entry.meta["shift"], max_batch=size).score_many(pairs)
        assert batched == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 3) for score in alone}) == 5


def start():
    return Base("tiny", tiny.model(), tiny.words(), tiny.CONTEXT, {})


def test_the_loss_of_a_batch_is_that_of_its_untied_pairs():
    """A slow reference: every answer alone through transformers' own head, every pair by hand."""
    model = reward.scalar_model(start(), seed=2, dropout=0.0).eval()
    with torch.no_grad():
        model.score.weight.mul_(20)
    rows = [
        tiny.ranking("yes?", ["good", "bad bad", "maybe"], [2, 1, 2]),
        tiny.ranking("공은 무슨 색인가요?", ["빨간색이에요.", "no"], [1, 2]),
    ]
    per_prompt, right, pairs = [], 0, 0
    for row in rows:
        scored = []
        for output in row["outputs"]:
            ids = encode.render(tiny.words(), row["input"]["messages"] + output["messages"], prompt=False)
            scored.append((output["rank"], model(torch.tensor([ids])).logits.item()))
        gaps = [s - other for rank, s in scored for other_rank, other in scored if rank < other_rank]
        per_prompt.append(sum(math.log1p(math.exp(-gap)) for gap in gaps) / len(gaps))
        right, pairs = right + sum(gap > 0 for gap in gaps), pairs + len(gaps)
    assert pairs == 3
    loss, accuracy = reward.comparison_loss(model, [reward.ranked(tiny.words(), row) for row in rows])
    assert loss.item() == pytest.approx(sum(per_prompt) / 2, rel=1e-4)
    assert accuracy == pytest.approx(right / 3)


def test_tied_answers_are_no_pairs_when_accuracy_is_measured():
    scorer = Scorer(reward.scalar_model(start(), seed=2, dropout=0.0), tiny.words())
    rows = [tiny.ranking("yes?", ["good", "bad", "maybe", "no"], [1, 2, 2, 1])]
    accuracy, pairs = reward.pairwise_accuracy(scorer, rows)
    one, two = (
        [scorer.score(rows[0]["input"]["messages"], answer) for answer in answers]
        for answers in (["good", "no"], ["bad", "maybe"])
    )
    assert pairs == 4
    assert accuracy == sum(better > worse for better in one for worse in two) / 4


def test_an_answer_is_scored_at_its_end_token_in_training_and_after():
    words = copy.deepcopy(tiny.words())
    words.chat_template = (
        "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{{ '\\n\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|user|>{% endif %}"
    )
    element = reward.ranked(words, tiny.ranking("yes?", ["good", "bad bad"], [1, 2]))
    assert [ids[-1] for ids in element.ids] == [words.eos_token_id] * 2
    scorer = Scorer(reward.scalar_model(start(), seed=2, dropout=0.0), words)
    question = [{"role": "user", "content": "yes?"}]
    prompt = words.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    rollout = [*prompt, *words.encode("good"), words.eos_token_id]
    assert element.ids[0] == rollout
    assert scorer.score(question, "good") == pytest.approx(scorer.score_ids([rollout])[0], abs=1e-6)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_scalar_model_is_the_chat_models_trunk_under_a_fresh_head(architecture):
    chat = Base("tiny", tiny.model(architecture), tiny.words(), tiny.CONTEXT, {})
    model = reward.scalar_model(chat, seed=5, dropout=0.0)
    ids = torch.tensor([[9, 40, 71, 3]])
    with torch.no_grad():
        ours, theirs = model.base_model(ids).last_hidden_state, chat.model.base_model(ids).last_hidden_state
    torch.testing.assert_close(ours, theirs)
    assert model.score.weight.shape == (1, 32)
    assert model.score.weight.std().item() == pytest.approx(1 / math.sqrt(33), rel=0.35)
    same = reward.scalar_model(chat, seed=5, dropout=0.0).score.weight
    assert torch.equal(same, model.score.weight)
    assert not torch.equal(reward.scalar_model(chat, seed=6, dropout=0.0).score.weight, model.score.weight)


@pytest.mark.parametrize("place", ["data", "validation", "demonstrations"])
def test_a_row_that_does_not_fit_stops_everything_before_it_begins(tmp_path, place):
    tiny.starter()
    good = tiny.chat("yes?", "no") if place == "demonstrations" else rankings(QUESTIONS, 0)[0]
    long = (
        tiny.chat("yes?", "no " * 200) if place == "demonstrations" else tiny.ranking("?", ["a", "no " * 200], [1, 2])
    )
    path = tiny.write(tmp_path / "long.jsonl", [good, long])
    steps = []
    with pytest.raises(UsageError, match=r"long\.jsonl:2: .* tokens long and the model's context is 96"):
        config = make(tmp_path, rankings(QUESTIONS, 0))
        reward.train(reward.Config(**{**vars(config), place: path}), steps.append)
    assert steps == [] and [entry.name for entry in registry.entries()] == ["starter"]
    assert not (home() / "work").exists()


def test_a_chat_model_scores_nothing():
    tiny.starter()
    with pytest.raises(UsageError, match="'starter' is a chat model and scores nothing; make a reward model with"):
        load_scorer("starter")


def test_a_conversation_that_exceeds_the_context_is_refused(learned):
    _, scorer, _ = learned
    with pytest.raises(UsageError, match=r"the conversation is \d+ tokens long and the reward model's context is 96"):
        scorer.score([{"role": "user", "content": "yes"}], "no " * 200)
