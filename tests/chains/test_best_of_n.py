"""BestOfN: what may score, what wins, and what is kept of the rest."""

import asyncio

import pytest

from chains import runs
from chains.best_of_n import BestOfN
from chains.errors import ModelError, UsageError, WiringError
from chains.judge import Judge, grade
from chains.llm_chain import LLMChain
from chains.models.embeddings import LocalEmbeddings
from chains.models.fake import FakeChat
from chains.models.local_chat import LocalChat
from chains.models.scorer import load_scorer
from tests import tiny


def writing(*answers):
    return LLMChain(llm=FakeChat(list(answers)), prompt="A line about {topic}.", output_key="line")


def scores_of(made):
    return [candidate.score for candidate in made["outcome"].candidates]


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (len, [2, 4, 3]),  # a built-in: given the answer
        (lambda text: -len(text), [-2, -4, -3]),  # one parameter, whatever its name
        (lambda line: line.count("a"), [2, 1, 0]),  # the output's own name
        (lambda topic, answer: len(topic) + len(answer), [5, 7, 6]),  # inputs by name
        (lambda question, line: (question == "tea") * len(line), [2, 4, 3]),
    ],
)
def test_a_function_scores(score, expected):
    made = BestOfN(writing("aa", "able", "bbb"), n=3, score=score).invoke("tea")
    assert scores_of(made) == expected
    assert made["line"] == ["aa", "able", "bbb"][expected.index(max(expected))]


def test_a_judge_scores_and_is_shown_question_and_answer():
    judge = FakeChat(["3", "Grade: 8", "I would say 10."])
    best = BestOfN(writing("one", "two", "three"), n=3, score=Judge(judge, about="Look at rhythm."))
    assert best.run("tea") == "three"
    asked = judge.prompts[1][0].text
    assert "Question: tea" in asked and "Answer: two" in asked and "Look at rhythm. " in asked


def test_a_korean_question_is_judged_in_korean():
    judge = FakeChat(["9"])
    Judge(judge).run(question="하늘은 무슨 색?", answer="blue")
    assert judge.prompts[0][0].text.startswith("질문에 대한 답을 채점하세요. 1(쓸모없음)부터")


@pytest.mark.parametrize(
    ("said", "number"), [("7", 7), ("7/10", 7), ("Grade: 10.", 10), ("8.5 of 10", 8.5), ("점수: 9점", 9)]
)
def test_a_grade_is_read(said, number):
    assert grade(said) == number


@pytest.mark.parametrize("said", ["", "good", "11", "0", "100", "1999"])
def test_a_grade_that_is_none_is_the_models_error(said):
    with pytest.raises(ModelError, match="a number from 1 to 10"):
        grade(said)


def test_an_answer_without_a_readable_score_comes_last():
    best = BestOfN(writing("one", "two"), n=2, score=Judge(FakeChat(["no idea", "2"])))
    made = best.invoke("tea")
    assert made["line"] == "two"
    assert [(c.rank, c.score) for c in made["outcome"].candidates] == [(2, None), (1, 2.0)]
    with pytest.raises(ModelError, match="a number from 1 to 10"):
        BestOfN(writing("one"), n=1, score=Judge(FakeChat("no"))).run("tea")


def test_a_score_that_is_no_number_does_not_win():
    made = BestOfN(writing("one", "two"), n=2, score=lambda line: float("nan") if line == "one" else 0.0).invoke("tea")
    assert made["line"] == "two"


def test_a_reward_model_scores_all_at_once_as_it_would_alone():
    tiny.judge("rm-1")
    made = BestOfN(writing("The sky is blue.", "maybe", "no"), n=3, score="rm-1").invoke("sky")
    scorer = load_scorer("rm-1")
    asked = [{"role": "user", "content": "A line about sky."}]
    wanted = [scorer.score(asked, text) for text in ("The sky is blue.", "maybe", "no")]
    assert scores_of(made) == pytest.approx(wanted, abs=1e-5)
    assert made["outcome"].best.score == pytest.approx(max(wanted), abs=1e-5)
    assert BestOfN(writing("no"), n=1, score=scorer).run("sky") == "no"


def test_wiring_is_checked_when_built():
    with pytest.raises(
        WiringError, match="asks for 'topik'; there are: topic, line, answer, question; did you mean 'topic'"
    ):
        BestOfN(writing("x"), score=lambda topik, answer: 1)
    with pytest.raises(UsageError, match="score is a int"):
        BestOfN(writing("x"), score=3)
    with pytest.raises(UsageError, match="no model 'rm-2'"):
        BestOfN(writing("x"), score="rm-2")
    tiny.starter("talker")
    with pytest.raises(UsageError, match="'talker' is a chat model"):
        BestOfN(writing("x"), score="talker")


def test_the_losers_become_pairs_and_the_run_is_a_tree():
    made = BestOfN(writing("one", "three", "two"), n=3, score=Judge(FakeChat(["1", "9", "5"]))).invoke("tea")
    texts = [[output["messages"][0]["content"] for output in row["outputs"]] for row in made["outcome"].pairs()]
    assert texts == [["three", "one"], ["three", "two"]]
    assert made["outcome"].pairs(most=1)[0]["outputs"][1]["messages"][0]["content"] == "one"
    run = runs.get(runs.recent(1)[0].id)
    assert [step.name for step in run.steps] == ["sample 1", "sample 2", "sample 3", "score", "score", "score"]
    assert [step.output for step in run.steps[3:]] == [1, 9, 5]


def test_a_batch_keeps_its_inputs_apart():
    llm = FakeChat(["a1", "a22", "b333", "b4"])
    best = BestOfN(LLMChain(llm=llm, prompt="{x}"), n=2, score=len)
    assert [made["text"] for made in best.batch(["a", "b"])] == ["a22", "b333"]
    results = best.batch([{"y": 1}, {"x": "b"}], return_exceptions=True)
    assert isinstance(results[0], UsageError)
    assert results[1]["outcome"].failed == 0
    assert asyncio.run(best.ainvoke("a"))["text"]


def test_a_local_model_is_sampled_and_judged_by_similarity():
    llm = LocalChat(tiny.model(spread=0.4), tiny.words(), max_tokens=6, seed=3, temperature=1.0)
    embed = LocalEmbeddings()
    goal = embed.embed_query("The sky is blue.")

    def near(answer):
        return sum(a * b for a, b in zip(goal, embed.embed_query(answer), strict=True))

    best = BestOfN(LLMChain(llm=llm, prompt="What colour is the sky?"), n=4, score=near)
    first, again = best.invoke({}), best.invoke({})
    assert len({c.text for c in first["outcome"].candidates}) > 1  # a seed each
    assert first == again
    assert first["outcome"].best.score == max(scores_of(first))


def test_a_local_judge_gives_nothing_but_a_grade(local):
    judge = Judge(local(512))
    scores = [judge.run(question="Sky?", answer=answer) for answer in ("blue", "파란색", "")]
    assert all(score in range(1, 11) for score in scores)
