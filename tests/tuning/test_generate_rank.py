"""Answers to rank, and the ranks of a person, a judge and a reward model."""

import pytest

from chains import load_scorer
from chains.errors import ModelError, UsageError
from chains.models.fake import FakeChat
from tests import tiny
from tuning import formats
from tuning.generate import judge, label, rank
from tuning.generate.ask import Asker, Reply
from tuning.generate.journal import Journal

PROMPTS = [[{"role": "user", "content": text}] for text in ("What colour is the sky?", "공은 무슨 색인가요?")]


def row(*answers, question="q"):
    outputs = [{"messages": [{"role": "assistant", "content": answer}]} for answer in answers]
    return {"input": {"messages": [{"role": "user", "content": question}]}, "outputs": outputs}


def places(made):
    return [[output["rank"] for output in one["outputs"]] for one in made]


@pytest.mark.parametrize(("k", "expected"), [("4", (4, 4)), ("4..9", (4, 9)), ("2..2", (2, 2))])
def test_the_number_of_answers(k, expected):
    assert rank.counts(k) == expected


@pytest.mark.parametrize("k", ["1", "10", "9..4", "4...9", "four", ""])
def test_a_number_that_cannot_be_ranked_is_refused(k):
    with pytest.raises(UsageError, match="--k"):
        rank.counts(k)


def test_equal_answers_count_once_and_are_asked_for_again(tmp_path):
    asker = Asker(FakeChat(["a", "a", "b", "c", "x", "y", "z"]))
    with Journal(tmp_path / "o", {}) as journal:
        made = rank.sample(asker, PROMPTS[:1], journal, k=(3, 3))
    assert [output["messages"][0]["content"] for output in made.rows[0]["outputs"]] == ["a", "b", "c"]
    assert len(asker.llm.prompts) == 4


def test_a_prompt_with_one_answer_only_has_no_row(tmp_path):
    with Journal(tmp_path / "o", {}) as journal:
        made = rank.sample(Asker(FakeChat(["same"])), PROMPTS, journal, k=(2, 4))
    assert (made.rows, dict(made.dropped)) == ([], {"fewer than two different answers": 2})


def test_k_is_drawn_for_each_prompt_and_the_same_after_a_break(tmp_path):
    many = [str(n) for n in range(1000)]
    prompts = [[{"role": "user", "content": f"q{n}"}] for n in range(40)]
    with Journal(tmp_path / "whole", {}) as journal:
        whole = rank.sample(Asker(FakeChat(many)), prompts, journal, k=(4, 9))
    sizes = [len(one["outputs"]) for one in whole.rows]
    assert set(sizes) == {4, 5, 6, 7, 8, 9}
    with Journal(tmp_path / "o", {}) as journal:
        rank.sample(Asker(FakeChat(many)), prompts[:14], journal, k=(4, 9))
    with Journal(tmp_path / "o", {}) as journal:
        again = rank.sample(Asker(FakeChat(many)), prompts, journal, k=(4, 9))
    assert [len(one["outputs"]) for one in again.rows] == sizes


def test_the_answers_of_a_real_model_go_through_the_chains(tmp_path):
    from chains import load_model

    tiny.starter()
    asker = Asker(load_model("starter"))
    with Journal(tmp_path / "o", {}) as journal:
        made = rank.sample(asker, PROMPTS, journal, k=(4, 4), max_tokens=8)
    assert [len(one["outputs"]) for one in made.rows] == [4, 4]
    assert asker.usage.output_tokens >= 8 and asker.usage.input_tokens > 0 and not asker.left_out


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("A", "A"), (" b.", "B"), ("**C**", "C"), ("Answer B is better", "B"), ("답 A", "A"), ("Both", None), ("A" "nd so", None), ("", None)],
)  # fmt: skip
def test_a_verdict_is_the_letter_at_the_front(reply, expected):
    assert judge.verdict(Reply(reply)) == expected


def test_a_judge_that_always_says_a_ties_everything(tmp_path):
    with Journal(tmp_path / "o", {}) as journal:
        made = judge.judge(judge.by_chat(Asker(FakeChat(["A"]))), [row("x", "y", "z")], journal)
    assert (made.rows, dict(made.dropped)) == ([], {"all answers tie": 1})


def test_a_pair_is_asked_both_ways_round_and_wins_are_counted(tmp_path):
    # x-y: A then B, x wins both ways. x-z: A then A, a tie. y-z: B then A, z wins. Points: x 1.5, y 0, z 1.5
    asker = Asker(FakeChat(["A", "B", "A", "A", "B", "A"]))
    with Journal(tmp_path / "o", {}) as journal:
        made = judge.judge(judge.by_chat(asker), [row("x", "y", "z")], journal)
    assert places(made.rows) == [[1, 2, 1]]
    asked = [prompt[0].text for prompt in asker.llm.prompts]
    assert len(asked) == 6
    assert asked[0].index("Answer A:\nx") < asked[0].index("Answer B:\ny")
    assert asked[1].index("Answer A:\ny") < asked[1].index("Answer B:\nx")


def test_a_judge_that_never_judges_is_named(tmp_path):
    with Journal(tmp_path / "o", {}) as journal, pytest.raises(ModelError, match="none of the comparisons"):
        judge.judge(judge.by_chat(Asker(FakeChat(["well"]))), [row("x", "y")], journal)


def test_a_row_that_the_judge_says_nothing_on_does_not_end_the_work(tmp_path):
    by = judge.by_chat(Asker(FakeChat(["A", "B", "well", "well", "A", "B"])))
    with Journal(tmp_path / "o", {}) as journal:
        made = judge.judge(by, [row("x", "y"), row("v", "w"), row("s", "t")], journal, at_once=1)
    assert places(made.rows) == [[1, 2], [1, 2]]
    assert dict(made.dropped) == {"all answers tie": 1, "comparison without a verdict": 2}


def test_what_the_model_cannot_read_is_counted_and_does_not_end_the_work(tmp_path):
    from chains import load_model

    tiny.starter()
    long = [{"role": "user", "content": "word " * 2000}]
    asker = Asker(load_model("starter"))
    with Journal(tmp_path / "o", {}) as journal:
        made = rank.sample(asker, [long, *PROMPTS], journal, k=(2, 2), at_once=1, max_tokens=8)
    assert len(made.rows) == 2 and dict(made.dropped) == {"longer than the model's context": 1}
    rows = [row("word " * 2000, "b")]
    for by, counted in ((judge.by_chat(asker), 2), (judge.by_reward(load_scorer(tiny.judge().name)), 1)):
        with Journal(tmp_path / str(counted), {}) as journal:
            made = judge.judge(by, rows, journal, at_once=1)
        assert made.rows == [] and made.dropped["longer than the model's context"] == counted


def test_a_reward_model_ranks_by_its_score(tmp_path):
    tiny.judge()
    scorer = load_scorer("judge")
    one = row("The sky is blue.", "yes", "no maybe", question="What colour is the sky?")
    with Journal(tmp_path / "o", {}) as journal:
        made = judge.judge(judge.by_reward(scorer), [one], journal)
    outputs = made.rows[0]["outputs"]
    expected = [scorer.score(one["input"]["messages"], output["messages"][0]["content"]) for output in outputs]
    assert [output["score"] for output in outputs] == pytest.approx(expected, abs=1e-5)
    assert [o["rank"] for o in sorted(outputs, key=lambda output: -output["score"])] == [1, 2, 3]
    formats.write(tmp_path / "ranked.jsonl", made.rows)
    assert len(formats.read_rankings(tmp_path / "ranked.jsonl")) == 1


def test_keys_place_tie_and_take_back():
    sheet = label.Sheet([], ["a", "b", "c"], [2, 0, 1])  # shown: 1 is c, 2 is a, 3 is b
    assert sheet.shown == ["c", "a", "b"]
    assert not sheet.tie() and not sheet.take_back()
    assert sheet.put(2) and not sheet.put(2) and not sheet.put(4)
    assert sheet.tie() and sheet.put(3) and sheet.groups == [[2, 3]]
    assert sheet.take_back() and sheet.groups == [[2]]
    assert sheet.put(1) and sheet.tie() and sheet.take_back() and sheet.put(3)
    assert (sheet.groups, sheet.complete, sheet.tie()) == ([[2], [1], [3]], True, False)
    assert sheet.ranks() == [1, 3, 2]  # a first, then c, then b


def test_decisions_outlive_the_process_and_can_be_taken_back(tmp_path):
    rows = [row("a", "b"), row("c", "d"), row("e", "f")]
    with Journal(tmp_path / "o", {}) as journal:
        labeling = label.Labeling(rows, journal)
        labeling.decide([2, 1])
        labeling.decide([1, 2])
        assert labeling.undo()
    with Journal(tmp_path / "o", {}) as journal:
        labeling = label.Labeling(rows, journal)
        assert labeling.done == 1 and set(labeling.sheet().answers) == {"c", "d"}
        labeling.decide(None)
        labeling.decide([1, 1])
        assert (labeling.sheet(), labeling.skipped, places(labeling.ranked())) == (None, 1, [[2, 1]])


def test_the_order_shown_is_drawn_and_the_same_again(tmp_path):
    rows = [row(*"abcdef") for _ in range(8)]
    with Journal(tmp_path / "o", {}) as journal:
        labeling = label.Labeling(rows, journal, seed=3)
        orders = []
        for _ in rows:
            orders.append(tuple(labeling.sheet().shown))
            assert orders[-1] == tuple(labeling.sheet().shown)
            labeling.decide(None)
    assert len(set(orders)) == 8


@pytest.mark.parametrize("bad", [{}, {"input": {"messages": []}, "outputs": []}, row("a"), row(*"abcdefghij")])
def test_a_row_without_answers_is_named_by_its_place(bad):
    with pytest.raises(UsageError, match=r"^f\.jsonl:3: is no prompt with 2 to 9 answers"):
        rank.read_unranked([("f.jsonl:3", bad)])
