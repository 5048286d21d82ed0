"""Router: who chooses, what happens to what fits nowhere, and that the chosen chain alone runs."""

import asyncio

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda

from chains import runs
from chains.choice import Unchosen, chosen
from chains.errors import UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.models.embeddings import LocalEmbeddings
from chains.models.fake import FakeChat
from chains.router import Route, Router
from chains.sequential import SequentialChain


def routes():
    return {
        "refund": LLMChain(llm=FakeChat(["Money back."]), prompt="refund {question}", output_key="answer"),
        "hours": LLMChain(llm=FakeChat(["At nine."]), prompt="hours {question}", output_key="answer"),
    }


def test_a_model_chooses_by_name_from_what_the_routes_are_for():
    llm = FakeChat(["The name is: Hours."])
    router = Router({"refund": Route(routes()["refund"], "money back"), "hours": routes()["hours"]}, by=llm)
    assert router.invoke("When do you open?") == {
        "question": "When do you open?",
        "answer": "At nine.",
        "route": "hours",
    }
    asked = llm.prompts[0][0].text
    assert "- refund: money back\n- hours\n" in asked
    assert "Text: When do you open?" in asked


def test_korean_is_asked_in_korean():
    llm = FakeChat(["refund"])
    assert Router(routes(), by=llm).run("환불해 주세요") == "Money back."
    assert llm.prompts[0][0].text.startswith("다음 글은")


@pytest.mark.parametrize(
    ("said", "name"),
    [("hours", "hours"), (" Refund. ", "refund"), ("**hours**", "hours"), ("I choose refund!", "refund")],
)
def test_a_name_is_found_in_what_was_said(said, name):
    assert chosen(said, ["refund", "hours"]) == name


def test_a_name_within_a_longer_one_is_not_meant():
    assert chosen("I say late hours", ["hours", "late hours"]) == "late hours"


def test_the_longer_of_two_names_that_begin_alike_is_meant():
    assert chosen("I say refund late!", ["refund", "refund late"]) == "refund late"


@pytest.mark.parametrize("said", ["", "refund or hours", "other", "refunds"])
def test_no_name_or_two_is_no_choice(said):
    with pytest.raises(Unchosen, match="one of refund, hours"):
        chosen(said, ["refund", "hours"])
    with pytest.raises(Unchosen):
        Router(routes(), by=FakeChat([said or " "])).run("x")
    assert Router(routes(), by=FakeChat([said or " "]), default="hours").run("x") == "At nine."


def test_a_function_or_a_runnable_chooses():
    assert (
        Router(routes(), by=lambda question: "refund" if "back" in question else "hours").run("my money back")
        == "Money back."
    )
    assert Router(routes(), by=RunnableLambda(lambda given: "hours")).run("x") == "At nine."
    with pytest.raises(UsageError, match="the choice 'hour' is no route; routes: refund, hours; did you mean 'hours'"):
        Router(routes(), by=lambda question: "hour").run("x")
    assert Router(routes(), by=lambda question: "hour", default="refund").run("x") == "Money back."


ANGLES = {"money": [2.0, 0.0], "give it back": [0.0, 3.0], "open": [-1.0, 0.0], "pay": [4.0, 3.0], "noise": [0.0, -1.0]}


class Angles(Embeddings):
    """Known texts as vectors of the plane."""

    def embed_documents(self, texts):
        return [ANGLES[text] for text in texts]

    def embed_query(self, text):
        return ANGLES[text]


def test_the_nearest_route_is_taken_by_cosine():
    by = {"refund": Route(routes()["refund"], "money", ["give it back"]), "hours": Route(routes()["hours"], "open")}
    assert Router(by, by=Angles(), threshold=0.8).run("pay") == "Money back."  # (4, 3) and (2, 0): 0.8 exactly
    with pytest.raises(Unchosen, match=r"'pay' is like no route: refund is nearest with 0\.80, below 0\.81"):
        Router(by, by=Angles(), threshold=0.81).run("pay")
    assert Router(by, by=Angles(), threshold=0.5, default="hours").invoke("noise")["route"] == "hours"
    assert Router(by, by=Angles()).invoke("open")["route"] == "hours"


def test_embeddings_of_this_machine_route_and_know_their_language():
    by = {
        "refund": Route(routes()["refund"], "refunds, returning goods, money back"),
        "hours": Route(routes()["hours"], "opening times of the shop"),
    }
    router = Router(by, by=LocalEmbeddings(), threshold=0.2, default="hours")
    assert router.invoke("I want to return these shoes")["route"] == "refund"
    assert router.invoke("When does the shop open?")["route"] == "hours"
    with pytest.raises(Unchosen, match="does not read the language of '환불"):
        Router(by, by=LocalEmbeddings()).run("환불해 주세요")


def test_only_the_chosen_chain_runs_and_a_batch_goes_together(model):
    left, right = model("L"), model("R")
    router = Router({"l": LLMChain(llm=left, prompt="{x}"), "r": LLMChain(llm=right, prompt="{x}")}, by=lambda x: x[0])
    made = router.batch(["l1", "r1", "l2", "?", "l3"], return_exceptions=True)
    assert [one["text"] for one in made if isinstance(one, dict)] == ["L", "R", "L", "L"]
    assert isinstance(made[3], UsageError)
    assert (left.batches, len(right.asked)) == ([3], 1)


def test_chains_with_other_outputs_share_one_key():
    router = Router(
        {"a": LLMChain(llm=FakeChat("A"), prompt="{x}", output_key="one"), "b": lambda x: x * 2},
        by=lambda x: x,
        output_key="said",
    )
    assert router.batch(["a", "b"]) == [{"x": "a", "said": "A", "route": "a"}, {"x": "b", "said": "bb", "route": "b"}]
    assert router.output_keys == ("said", "route")


def test_wiring_is_checked_when_built():
    with pytest.raises(
        WiringError, match="default 'refunds' is no route; routes: refund, hours; did you mean 'refund'"
    ):
        Router(routes(), by=FakeChat("x"), default="refunds")
    with pytest.raises(WiringError, match="routes is empty"):
        Router({}, by=FakeChat("x"))
    with pytest.raises(WiringError, match="`by` asks for 'query'; the routes take: question"):
        Router(routes(), by=lambda query: "hours")
    with pytest.raises(WiringError, match=r"on=None is none of the inputs; they are: a, b"):
        Router({"x": LLMChain(llm=FakeChat("x"), prompt="{a}{b}")}, by=FakeChat("x"))
    with pytest.raises(UsageError, match="threshold is for Embeddings"):
        Router(routes(), by=FakeChat("x"), threshold=0.5)


def test_it_streams_awaits_is_a_step_and_is_recorded():
    router = Router(routes(), by=lambda question: "hours")
    assert [chunk.get("answer") for chunk in router.stream("x")] == ["At", " nine.", None]
    assert asyncio.run(router.ainvoke("x"))["answer"] == "At nine."
    run = runs.get(runs.recent(1)[0].id)
    assert [step.name for step in run.steps] == ["route", "hours"]
    assert run.output == {"answer": "At nine.", "route": "hours"}

    def shout(answer):
        return answer.upper()

    whole = SequentialChain(chains=[router, shout], input_variables=["question"], output_variables=["route", "shout"])
    assert whole.invoke("x") == {"question": "x", "route": "hours", "shout": "AT NINE."}


def test_a_local_model_can_choose_nothing_but_a_name(local):
    chosen_by = [Router(routes(), by=local(512, seed=seed)) for seed in range(3)]
    assert {router.invoke("When?")["route"] for router in chosen_by} <= {"refund", "hours"}
    bound = Router(routes(), by=local(512).bind(stop=["x"]))
    assert bound.run("언제 열어요?") in ("Money back.", "At nine.")
