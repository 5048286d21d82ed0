"""Pairs from the run store are those that the outcomes gave, and corrections beside them."""

import json

import pytest

from chains import runs
from chains.best_of_n import BestOfN
from chains.chatbot import Chatbot
from chains.errors import UsageError
from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.preferences import to_preferences
from chains.self_consistency import SelfConsistency
from chains.sequential import SequentialChain
from tuning import formats


def chain(*answers):
    return LLMChain(llm=FakeChat(list(answers)), prompt="{q}", output_key="answer")


def test_what_was_recorded_gives_the_same_pairs():
    vote = SelfConsistency(chain("a", "b", "a"), n=3).invoke("vote")["outcome"]
    best = BestOfN(chain("1", "333"), n=2, score=len).invoke("best")["outcome"]
    runs.close()
    assert to_preferences() == [*vote.pairs(), *best.pairs()]
    assert len(to_preferences()) == 2
    assert to_preferences(limit=1) == best.pairs()


def test_a_doubtful_vote_is_left_out_on_demand():
    SelfConsistency(chain("a", "b", "a"), n=3).invoke("vote")  # 2 to 1: 11/16
    assert len(to_preferences(least=0.68)) == 1
    assert to_preferences(least=0.69) == []


def test_an_outcome_inside_a_sequence_is_found():
    SequentialChain(
        chains=[SelfConsistency(chain("a", "b", "a"), n=3)], input_variables=["q"], output_variables=["answer"]
    ).invoke("x")
    assert len(to_preferences()) == 1


def test_a_correction_is_better_than_the_answer(tmp_path):
    bot = Chatbot(FakeChat(["wrong"]), system="S")
    bot.feedback(bot.ask("hi").id, correction="Right.")
    bot.ask("again")
    path = tmp_path / "pairs.jsonl"
    (row,) = to_preferences(path)
    assert [message["role"] for message in row["input"]["messages"]] == ["system", "user"]
    assert [output["messages"][0]["content"] for output in row["outputs"]] == ["Right.", "wrong"]
    assert json.loads(path.read_text()) == row
    assert {finding.rule for finding in formats.check(path).findings} == {"too-few-rows"}


def test_no_pairs_is_said_where_a_file_is_asked_for(tmp_path):
    with pytest.raises(UsageError, match="no run holds a pair"):
        to_preferences(tmp_path / "x.jsonl")
    assert to_preferences() == []
