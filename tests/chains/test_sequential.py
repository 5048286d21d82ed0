"""Chains in sequence: the wiring check, any Runnable or function as a step, and the record as a tree."""

import asyncio
from typing import TypedDict

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough

from chains import runs
from chains.errors import UsageError, WiringError
from chains.llm_chain import LLMChain
from chains.sequential import SequentialChain, SimpleSequentialChain
from chains.steps import named


@pytest.fixture
def llm(model):
    return model(lambda text: f"<{text}>")


@pytest.fixture
def outline(llm):
    return LLMChain(llm=llm, prompt="O {topic}", output_key="outline")


@pytest.fixture
def draft(llm):
    return LLMChain(llm=llm, prompt="D {outline} {tone}", output_key="draft")


def test_values_flow_by_name_and_invoke_returns_inputs_and_outputs(outline, draft):
    chain = SequentialChain(
        chains=[outline, draft], input_variables=["topic", "tone"], output_variables=["outline", "draft"]
    )
    made = {"outline": "<O tea>", "draft": "<D <O tea> dry>"}
    assert chain.invoke({"topic": "tea", "tone": "dry"}) == {"topic": "tea", "tone": "dry", **made}


def test_without_output_variables_it_makes_what_the_last_step_makes(outline, draft):
    chain = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    assert chain.output_keys == ("draft",)
    assert chain.run(topic="tea", tone="dry") == "<D <O tea> dry>"


@pytest.mark.parametrize(
    ("inputs", "outputs", "error"),
    [
        (["topic"], None, "step 2 'draft' needs 'tone'; available: topic, outline$"),
        (
            ["topic", "tones"],
            None,
            r"step 2 'draft' needs 'tone'; available: topic, tones, outline; did you mean 'tones'\?",
        ),
        ([], None, "step 1 'outline' needs 'topic'; available: nothing"),
        (["topic", "tone", "outline"], None, "step 1 'outline' would overwrite 'outline'"),
        (
            ["topic", "tone", "lang"],
            None,
            "input variable 'lang' is used by no step; the steps use: outline, tone, topic",
        ),
        (
            ["topic", "tone"],
            ["drafts"],
            r"output variable 'drafts' is made by no step; made: outline, draft; did you mean 'draft'\?",
        ),
    ],
)
def test_wrong_wiring_is_refused_when_built(outline, draft, inputs, outputs, error):
    with pytest.raises(WiringError, match=error):
        SequentialChain(chains=[outline, draft], input_variables=inputs, output_variables=outputs)


def test_a_step_that_makes_what_another_made_is_refused(outline):
    with pytest.raises(WiringError, match="step 2 'outline' would overwrite 'outline'"):
        SequentialChain(chains=[outline, outline], input_variables=["topic"])


def test_nothing_and_what_cannot_be_a_step_are_refused(outline):
    with pytest.raises(WiringError, match="at least one step"):
        SequentialChain(chains=[], input_variables=[])
    with pytest.raises(WiringError, match="'later' cannot be a step"):
        SequentialChain(chains=[outline, "later"], input_variables=["topic"])


def test_a_pipe_is_a_step_when_its_output_has_a_name(llm, outline):
    pipe = PromptTemplate.from_template("P {outline} {mood}") | llm | StrOutputParser()
    with pytest.raises(
        WiringError, match=r"step 2 'RunnableSequence' has no name for its output; write named\(step, 'key'\)"
    ):
        SequentialChain(chains=[outline, pipe], input_variables=["topic", "mood"])
    with pytest.raises(WiringError, match="step 2 'poem' needs 'mood'; available: topic, outline"):
        SequentialChain(chains=[outline, named(pipe, "poem")], input_variables=["topic"])
    chain = SequentialChain(chains=[outline, named(pipe, "poem")], input_variables=["topic", "mood"])
    assert chain.run(topic="tea", mood="sad") == "<P <O tea> sad>"


def test_a_message_is_passed_on_as_its_text(llm, outline):
    pipe = named(PromptTemplate.from_template("P {outline}") | llm, "poem")
    after = LLMChain(llm=llm, prompt="A {poem}", output_key="after")
    chain = SequentialChain(
        chains=[outline, pipe, after], input_variables=["topic"], output_variables=["poem", "after"]
    )
    assert chain.invoke("tea") == {"topic": "tea", "poem": "<P <O tea>>", "after": "<A <P <O tea>>>"}


def test_a_function_takes_its_parameters_and_makes_its_name(outline):
    def length(outline: str, extra: int = 1, *, topic: str) -> int:
        return len(outline) + extra + len(topic)

    chain = SequentialChain(chains=[outline, length], input_variables=["topic"])
    assert chain.run("tea") == len("<O tea>") + 1 + 3
    with_extra = SequentialChain(chains=[outline, length], input_variables=["topic", "extra"])
    assert with_extra.run(topic="tea", extra=10) == len("<O tea>") + 10 + 3
    with pytest.raises(WiringError, match="step 1 'length' needs 'outline'"):
        SequentialChain(chains=[length], input_variables=["topic"])


class Marks(TypedDict):
    score: int
    reason: str


def test_a_function_that_returns_a_typed_dict_makes_its_keys(outline):
    def judge(outline: str) -> Marks:
        return {"score": len(outline), "reason": "long"}

    chain = SequentialChain(chains=[outline, judge], input_variables=["topic"], output_variables=["score", "reason"])
    assert chain.invoke("tea") == {"topic": "tea", "score": 7, "reason": "long"}


def test_named_with_several_keys_takes_a_dict_apart(outline):
    two = named(lambda outline: {"a": 1, "b": outline}, "a", "b")
    chain = SequentialChain(chains=[outline, two], input_variables=["topic"], output_variables=["b"])
    assert chain.run("tea") == "<O tea>"
    broken = named(lambda outline: {"a": 1, "bb": 2}, "a", "b")
    with pytest.raises(UsageError, match=r"step 2 '.*': the step was to return a dict with 'b'; it returned: a, bb"):
        SequentialChain(chains=[outline, broken], input_variables=["topic"], output_variables=["b"]).run("tea")


def test_named_with_one_key_keeps_a_dict_whole(outline):
    chain = SequentialChain(chains=[outline, named(lambda outline: {"a": 1}, "all")], input_variables=["topic"])
    assert chain.run("tea") == {"a": 1}


def test_named_says_what_a_step_takes_where_that_cannot_be_seen(outline):
    steps = [
        outline,
        named(len, "length", inputs="outline"),
        named(RunnableLambda(lambda given: given["topic"] * given["length"]), "long", inputs=["topic", "length"]),
        named(lambda **given: sorted(given), "names", inputs=["length"]),
    ]
    made = SequentialChain(
        chains=steps, input_variables=["topic"], output_variables=["length", "long", "names"]
    ).invoke("x")
    assert made == {"topic": "x", "length": 5, "long": "xxxxx", "names": ["length"]}


def test_a_runnable_that_says_nothing_gets_everything(outline):
    step = named(RunnableLambda(sorted), "names")
    assert SequentialChain(chains=[outline, step], input_variables=["topic"]).run("x") == ["outline", "topic"]


def test_a_parallel_makes_its_keys(outline, llm):
    both = RunnableParallel(up=PromptTemplate.from_template("U {outline}") | llm, whole=RunnablePassthrough())
    chain = SequentialChain(chains=[outline, both], input_variables=["topic"], output_variables=["up"])
    assert chain.run("x") == "<U <O x>>"
    with pytest.raises(WiringError, match=r"step 1 .* needs 'outline'"):
        SequentialChain(chains=[both], input_variables=["topic"])


def test_a_chain_renamed_and_a_sequence_within_a_sequence(outline, draft):
    inner = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    outer = SequentialChain(
        chains=[inner, named(outline, "second")],
        input_variables=["topic", "tone"],
        output_variables=["draft", "second"],
    )
    made = outer.invoke({"topic": "x", "tone": "dry"})
    assert (made["draft"], made["second"]) == ("<D <O x> dry>", "<O x>")


def test_a_batch_takes_every_step_at_once_and_equals_single_calls(llm, outline, draft):
    chain = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    inputs = [{"topic": topic, "tone": "dry"} for topic in "abc"]
    together = chain.batch(inputs)
    assert llm.batches == [3, 3]
    assert together == [chain.invoke(given) for given in inputs]


def test_an_item_that_fails_at_a_step_leaves_the_batch_there(llm, outline):
    def check(outline):
        if "bad" in outline:
            raise KeyError("bad")
        return "fine"

    chain = SequentialChain(chains=[outline, check, named(str.upper, "up", inputs="check")], input_variables=["topic"])
    good, bad = chain.batch(["a", "bad"], return_exceptions=True)
    assert good["up"] == "FINE"
    assert isinstance(bad, KeyError)
    assert bad.__notes__ == ["in step 2 'check'"]


def test_an_error_of_ours_names_the_step_in_its_sentence(outline):
    def picky(outline):
        raise UsageError("the outline is too short")

    chain = SequentialChain(chains=[outline, picky, named(len, "n", inputs="picky")], input_variables=["topic"])
    with pytest.raises(UsageError, match=r"^step 2 'picky': the outline is too short$"):
        chain.run("tea")
    with pytest.raises(UsageError, match=r"^SequentialChain needs 'topic'; given: topics"):  # not a step's fault
        chain.invoke({"topics": "tea"})


def test_a_stream_shows_the_last_step(outline, draft):
    chain = SequentialChain(
        chains=[outline, draft], input_variables=["topic", "tone"], output_variables=["outline", "draft"]
    )
    chunks = list(chain.stream({"topic": "tea", "tone": "dry"}))
    assert [chunk.get("draft") for chunk in chunks] == ["<D ", "<O ", "tea> ", "dry> ", None]
    assert sum(chunks[1:], chunks[0]) == {
        "topic": "tea",
        "tone": "dry",
        "outline": "<O tea>",
        "draft": "<D <O tea> dry> ",
    }


def test_a_streams_events_tell_of_every_step(outline, draft):
    chain = SequentialChain(
        chains=[outline, draft], input_variables=["topic", "tone"], output_variables=["outline", "draft"]
    )

    async def told():
        asked = {"topic": "tea", "tone": "dry"}
        return [event async for event in chain.astream_events(asked, version="v2")]

    events = asyncio.run(told())
    named = [(event["event"], event["name"]) for event in events]
    assert named[0] == ("on_chain_start", "SequentialChain") and named[-1] == ("on_chain_end", "SequentialChain")
    steps = [event for event in events if event["event"] == "on_chain_end" and event["name"] != "SequentialChain"]
    assert [step["data"]["output"] for step in steps[:1]] == [{"topic": "tea", "outline": "<O tea> "}]
    assert [step["data"]["output"]["draft"] for step in steps[1:]] == ["<D <O tea>  dry> "]
    assert named.count(("on_chat_model_start", "RuleModel")) == 2


def test_async_forms_return_what_the_others_do(outline):
    async def slow(outline):
        await asyncio.sleep(0)
        return outline.upper()

    chain = SequentialChain(
        chains=[outline, slow, lambda_named(len)], input_variables=["topic"], output_variables=["slow", "n"]
    )

    async def all_forms():
        chunks = [chunk async for chunk in chain.astream("a")]
        return await chain.ainvoke("a"), await chain.abatch(["a", "bb"]), chunks

    one, two, chunks = asyncio.run(all_forms())
    assert one == {"topic": "a", "slow": "<O A>", "n": 5}
    assert two == [one, {"topic": "bb", "slow": "<O BB>", "n": 6}]
    assert sum(chunks[1:], chunks[0]) == one
    with pytest.raises(UsageError, match="slow is an async function; use ainvoke"):
        chain.invoke("a")


def lambda_named(function):
    return named(function, "n", inputs="slow")


def test_a_setting_for_the_model_is_refused(outline):
    with pytest.raises(UsageError, match="takes no stop; bind it on the model of a step"):
        SequentialChain(chains=[outline], input_variables=["topic"]).invoke("a", stop=["x"])


def test_verbose_prints_what_each_step_makes(outline, draft, capsys):
    chain = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"], verbose=True)
    chain.run(topic="tea", tone="dry")
    assert capsys.readouterr().out == "[step 1] outline: <O tea>\n[step 2] draft: <D <O tea> dry>\n"


def test_simple_passes_one_value_whatever_the_names(llm, outline):
    pipe = PromptTemplate.from_template("P {poem}") | llm
    chain = SimpleSequentialChain(
        chains=[outline, pipe, str.upper, lambda text: text[1:], RunnableLambda(lambda text: text[:-1])]
    )
    assert chain.run("tea") == "P <O TEA>"
    assert chain.invoke("tea") == {"input": "tea", "output": "P <O TEA>"}
    assert chain.batch(["a", "b"]) == [chain.invoke("a"), chain.invoke("b")]


def test_simple_streams_its_last_step(outline, llm):
    chunks = list(SimpleSequentialChain(chains=[outline, LLMChain(llm=llm, prompt="Then {text_}")]).stream("x"))
    assert [chunk["output"] for chunk in chunks] == ["<Then ", "<O ", "x>> "]


def test_simple_refuses_a_step_of_two_inputs_or_outputs_when_built(outline, draft, llm):
    with pytest.raises(
        WiringError,
        match="step 2 'draft' has the inputs outline, tone, and here each step has one; use SequentialChain",
    ):
        SimpleSequentialChain(chains=[outline, draft])
    with pytest.raises(WiringError, match=r"step 1 .* has the outputs a, b"):
        SimpleSequentialChain(chains=[RunnableParallel(a=llm, b=llm)])
    with pytest.raises(WiringError, match="has the inputs a, b"):
        SimpleSequentialChain(chains=[lambda a, b: a])


def test_a_dict_value_is_a_value_for_a_simple_step(llm):
    chain = SimpleSequentialChain(chains=[lambda text: {"topic": text}, LLMChain(llm=llm, prompt="{topic}")])
    assert chain.run("x") == "<{'topic': 'x'}>"


def test_simple_is_a_step_of_a_sequence(outline, llm):
    simple = SimpleSequentialChain(chains=[LLMChain(llm=llm, prompt="1 {a}"), LLMChain(llm=llm, prompt="2 {b}")])
    chain = SequentialChain(chains=[outline, named(simple, "final", inputs="outline")], input_variables=["topic"])
    assert chain.run("x") == "<2 <1 <O x>>>"


def test_the_steps_are_recorded_under_their_sequence(outline, llm):
    inside = RunnableLambda(lambda given: LLMChain(llm=llm, prompt="In {x}").run(given["outline"]))
    SequentialChain(chains=[outline, named(inside, "deep")], input_variables=["topic"]).run("tea")
    assert len(runs.recent()) == 1
    whole = runs.get(runs.recent(1)[0].id)
    first, second = whole.steps
    assert (whole.name, whole.inputs, whole.output) == ("SequentialChain", {"topic": "tea"}, "<In <O tea>>")
    assert (first.name, first.output, second.name) == ("outline", "<O tea>", "deep")
    assert [step.inputs for step in second.steps] == [{"x": "<O tea>"}]
    assert whole.usage == {"input_tokens": 20, "output_tokens": 2 + 3, "total_tokens": 25}


def test_a_chain_run_inside_a_function_is_recorded_under_its_step(outline, llm):
    def deep(outline):
        return LLMChain(llm=llm, prompt="In {x}").run(outline)

    SequentialChain(chains=[outline, deep], input_variables=["topic"]).run("tea")
    (run,) = runs.recent()
    assert [step.output for step in runs.get(run.id).steps[1].steps] == ["<In <O tea>>"]


def test_the_callers_run_id_and_name_are_the_whole_runs_alone(outline, draft):
    inner = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    outer = SequentialChain(
        chains=[named(RunnableLambda(inner.invoke), "all", inputs=["topic", "tone"])], input_variables=["topic", "tone"]
    )
    chosen = "01234567-89ab-cdef-0123-456789abcdef"
    outer.invoke({"topic": "x", "tone": "y"}, {"run_id": chosen, "run_name": "mine"})
    run = runs.get(chosen)
    (step,) = run.steps
    (below,) = step.steps
    assert (run.name, step.name, below.name, len(below.steps)) == ("mine", "all", "SequentialChain", 2)


def test_a_batch_records_each_item_with_its_own_steps(outline, draft):
    chain = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    chain.batch([{"topic": topic, "tone": "dry"} for topic in "ab"])
    trees = [runs.get(run.id) for run in runs.recent()]
    assert {tree.output: [step.output for step in tree.steps] for tree in trees} == {
        "<D <O a> dry>": ["<O a>", "<D <O a> dry>"],
        "<D <O b> dry>": ["<O b>", "<D <O b> dry>"],
    }


def test_callbacks_of_the_config_reach_every_model(outline, draft, listener):
    chain = SequentialChain(chains=[outline, draft], input_variables=["topic", "tone"])
    chain.invoke({"topic": "a", "tone": "b"}, {"callbacks": [listener]})
    assert listener.heard == ["chain start", *["chain start", "model start", "model end", "chain end"] * 2, "chain end"]
    assert len(runs.get(runs.recent(1)[0].id).steps) == 2


def test_a_sequence_composes_with_pipes_and_retries(outline):
    tries = []

    def flaky(outline):
        tries.append(outline)
        if len(tries) < 2:
            raise ConnectionError
        return outline + "!"

    chain = SequentialChain(chains=[outline, flaky], input_variables=["topic"])
    pipe = chain.with_retry(retry_if_exception_type=(ConnectionError,), wait_exponential_jitter=False) | RunnableLambda(
        lambda made: made["flaky"]
    )
    assert pipe.invoke({"topic": "x"}) == "<O x>!"
