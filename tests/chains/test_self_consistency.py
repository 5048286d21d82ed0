"""The vote: who wins, how sure it is, when it stops, and what is kept of it."""

import asyncio
import itertools

import pytest
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.errors import ModelError, UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.models.fake import FakeChat
from chains.self_consistency import SelfConsistency, confidence, last_number, same_text
from chains.sequential import SequentialChain
from tuning import formats


def asking(answers, **settings):
    llm = FakeChat(answers, **settings)
    return llm, LLMChain(llm=llm, prompt="How much is {sum}?", output_key="answer")


@pytest.mark.parametrize(
    ("first", "second", "sure"),
    [
        (0, 0, 0.5),  # nothing known: the prior
        (1, 0, 0.75),  # P(p > 1/2) under Beta(2, 1), whose distribution function is p squared
        (2, 1, 1 - 5 / 16),  # Beta(3, 2): 4p^3 - 3p^4 at 1/2 is 5/16
        (4, 0, 31 / 32),  # Beta(5, 1): 1 - 1/32
        (3, 3, 0.5),
    ],
)
def test_confidence_is_the_beta_posterior(first, second, sure):
    assert confidence(first, second) == pytest.approx(sure)


def test_most_votes_win_and_everything_is_kept():
    _, chain = asking(["It is 4.", "5", "so 4", "none"])
    made = SelfConsistency(chain, n=4, key=last_number).invoke("2 + 2")
    outcome = made["outcome"]
    assert (made["sum"], made["answer"]) == ("2 + 2", "It is 4.")
    assert outcome.votes == {4.0: 2, 5.0: 1}
    assert [c.rank for c in outcome.candidates] == [1, 2, 1, 2]
    assert outcome.confidence == pytest.approx(confidence(2, 1))
    assert outcome.best.value == "It is 4."


def test_of_equal_votes_the_first_wins():
    _, chain = asking(["b", "a", "a", "b"])
    assert SelfConsistency(chain, n=4).run("x") == "b"


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("I paid 1,200 won", 1200),
        ("3 - then -2.5.", -2.5),
        ("a year: 1999", 1999),
        ("1,2,3", 3),
        ("none", None),
        ("x = 7.", 7),
    ],
)
def test_the_last_number_is_read(answer, number):
    assert last_number(answer) == number


def test_answers_are_the_same_but_for_case_spaces_and_end():
    assert same_text(" Blue  sky. ") == same_text("blue sky")
    assert same_text({"b": 1, "a": 2}) == same_text({"a": 2, "b": 1})
    assert same_text("  ") is None


def test_a_settled_vote_stops_early():
    llm, chain = asking(["7"])
    outcome = SelfConsistency(chain, n=16, stop_when=0.95).invoke("x")["outcome"]
    assert len(llm.prompts) == 4  # four of four: 31/32
    assert outcome.stopped == "sure"


def test_a_vote_that_the_rest_cannot_change_stops():
    llm, chain = asking(["a", "a", "a", "b"])
    outcome = SelfConsistency(chain, n=5, wave=4, stop_when=0.99).invoke("x")["outcome"]
    assert (len(llm.prompts), outcome.stopped) == (4, "decided")  # 3 to 1, and one to come
    llm, chain = asking(["a", "a", "b", "b"])
    SelfConsistency(chain, n=4, wave=2, stop_when=0.99).run("x")
    assert len(llm.prompts) == 4  # a lead of two with two to come may end in a tie
    llm, chain = asking(["a", "a", "b", "b", "b"])
    assert SelfConsistency(chain, n=5, wave=4, stop_when=0.99).run("x") == "b"
    assert len(llm.prompts) == 5


def test_only_what_is_open_is_asked_again():
    answers = itertools.count()
    chain = RunnableLambda(lambda given: "same" if given["q"] == "easy" else f"{next(answers)}")
    seen = []
    made = SelfConsistency(
        chain | RunnableLambda(lambda text: seen.append(text) or text), n=12, wave=4, stop_when=0.95
    ).batch([{"q": "easy"}, {"q": "hard"}])
    assert (len(made[0]["outcome"].candidates), len(made[1]["outcome"].candidates)) == (4, 12)
    assert len(seen) == 16


def test_without_early_stop_all_samples_are_one_batch(model):
    llm = model("a")
    SelfConsistency(LLMChain(llm=llm, prompt="{x}"), n=5).batch(["1", "2"])
    assert llm.batches == [10]


def test_each_sample_has_a_seed_of_its_own():
    seen = []
    inner = FakeChat._generate

    class Watched(FakeChat):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            seen.append(kwargs["seed"])
            return inner(self, messages, stop, run_manager, **kwargs)

    for given, wanted in (({"seed": 7}, [7, 8, 9]), ({}, [100, 101, 102])):
        watched = LLMChain(llm=Watched(["a"], seed=100), prompt="{x}")
        SelfConsistency(watched, n=3, **given).invoke("x")
        assert sorted(seen) == wanted
        seen.clear()
    asyncio.run(SelfConsistency(watched, n=2, seed=1).ainvoke("x"))
    assert sorted(seen) == [1, 2]


def test_what_cannot_sample_is_refused_when_built():
    _, chain = asking(["a"])
    with pytest.raises(UsageError, match="temperature=0 gives the same answer"):
        SelfConsistency(chain, temperature=0)
    with pytest.raises(UsageError, match="seed=3 does not reach a model"):
        SelfConsistency(lambda x: x, seed=3)
    with pytest.raises(UsageError, match="n=0"):
        SelfConsistency(chain, n=0)
    with pytest.raises(UsageError, match="stop_when=95"):
        SelfConsistency(chain, stop_when=95)
    with pytest.raises(WiringError, match="outcome_key 'sum' is also a key"):
        SelfConsistency(chain, outcome_key="sum")


def test_settings_reach_the_model(model):
    llm = model("a")
    SelfConsistency(LLMChain(llm=llm, prompt="{x}"), n=2, temperature=0.9).invoke("x")
    assert [given["temperature"] for given in llm.settings] == [0.9, 0.9]


def test_a_failed_sample_does_not_vote_and_all_failed_is_the_error():
    def shaky(q):
        if next(turns) % 2:
            raise ConnectionError("gone")
        return "yes"

    turns = itertools.count()
    outcome = SelfConsistency(shaky, n=4).invoke("x")["outcome"]
    assert (outcome.failed, outcome.votes) == (2, {"yes": 2})

    def broken(q):
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        SelfConsistency(broken, n=2).invoke("x")


def test_nothing_voted_for_is_the_models_error():
    _, chain = asking(["no idea"])
    with pytest.raises(ModelError, match=r"none of 3 answers voted for anything.*'no idea'"):
        SelfConsistency(chain, n=3, key=last_number).invoke("x")


def test_a_key_function_that_fails_is_its_inputs_error():
    _, chain = asking(["a"])
    results = SelfConsistency(chain, n=2, key=lambda text: 1 / 0).batch(["x"], return_exceptions=True)
    assert isinstance(results[0], ZeroDivisionError)


def test_pairs_are_rankings_that_tuning_reads(tmp_path):
    _, chain = asking(["It is 4.", "5", "so 4", "It is 4.", "5"])
    pairs = SelfConsistency(chain, n=5, key=last_number).invoke("2 + 2")["outcome"].pairs()
    prompt = [{"role": "user", "content": "How much is 2 + 2?"}]
    texts = [[output["messages"][0]["content"] for output in row["outputs"]] for row in pairs]
    assert texts == [["It is 4.", "5"], ["so 4", "5"]]  # each different pair once
    assert pairs[0]["input"]["messages"] == prompt
    path = tmp_path / "pairs.jsonl"
    formats.write(path, pairs)
    report = formats.check(path)
    assert (report.format, {finding.rule for finding in report.findings}) == ("rankings", {"too-few-rows"})


def test_samples_whose_last_prompt_differs_are_not_paired():
    llm = FakeChat(["plan a", "plan b", "4", "5"])
    chain = SequentialChain(
        chains=[
            LLMChain(llm=llm, prompt="plan {q}", output_key="plan"),
            LLMChain(llm=llm, prompt="do {plan}", output_key="answer"),
        ],
        input_variables=["q"],
    )
    outcome = SelfConsistency(chain, n=2).invoke("x")["outcome"]
    assert [c.same_prompt for c in outcome.candidates] == [True, False]
    assert outcome.pairs() == []


def test_any_step_is_sampled_with_its_prompt():
    llm = FakeChat(["a", "b", "a"])
    bare = SelfConsistency(llm, n=3)
    assert bare.run("which?") == "a"
    llm.prompts.clear()
    piped = SelfConsistency(RunnableLambda(lambda given: f"say {given['q']}") | llm, n=3).invoke({"q": "x"})
    assert piped["outcome"].prompt == [{"role": "user", "content": "say x"}]
    assert len(piped["outcome"].pairs()) == 1


def test_it_is_a_step_streamed_awaited_and_recorded():
    _, chain = asking(["4", "5", "4"])
    vote = SelfConsistency(chain, n=3)
    whole = None
    for chunk in vote.stream("x"):
        whole = chunk if whole is None else whole + chunk
    assert whole["answer"] == "4"
    assert asyncio.run(vote.ainvoke("x"))["answer"] == "4"

    def twice(answer):
        return answer * 2

    sequence = SequentialChain(chains=[vote, twice], input_variables=["sum"], output_variables=["answer", "twice"])
    assert sequence.invoke({"sum": "x"}) == {"sum": "x", "answer": "4", "twice": "44"}


def test_the_run_is_a_tree_of_samples():
    _, chain = asking(["4", "5", "4"])
    SelfConsistency(chain, n=3).invoke("x")
    (run,) = runs.recent()
    steps = runs.get(run.id).steps
    assert [step.name for step in steps] == ["sample 1", "sample 2", "sample 3"]
    assert [step.answer for step in steps] == ["4", "5", "4"]
    assert run.output["answer"] == "4"
    assert [c["rank"] for c in run.output["outcome"]["candidates"]] == [1, 2, 1]
    assert run.usage["output_tokens"] == 3
