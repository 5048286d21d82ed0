"""A batch is one call of the engine, and still every prompt has a run, callbacks, a cache and an error of its own."""

import asyncio
import time

import pytest
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from transformers import LlamaConfig, LlamaForCausalLM

from chains import LLMChain, LocalChat, ModelError, UsageError
from tests.chains.models.conftest import TEMPLATE, make_tokenizer

TOPICS = ["tea", "a long walk by the river", "비"]


@pytest.fixture
def llm(llama, tokenizer):
    return LocalChat(llama, tokenizer, temperature=0, max_tokens=12)


class Listener(BaseCallbackHandler):
    """Notes what happens to the model's runs: (event, run, parent, tags or text)."""

    def __init__(self):
        self.heard = []

    def on_chat_model_start(
        self, serialized, messages, *, run_id, parent_run_id=None, tags=None, metadata=None, **kwargs
    ):
        self.heard.append(("start", run_id, parent_run_id, (tags, metadata, messages[0][-1].text)))

    def on_llm_end(self, response, *, run_id, parent_run_id=None, **kwargs):
        self.heard.append(("end", run_id, parent_run_id, response.generations[0][0].text))

    def on_llm_error(self, error, *, run_id, parent_run_id=None, **kwargs):
        self.heard.append(("error", run_id, parent_run_id, error))


class AsyncListener(Listener, AsyncCallbackHandler):
    async def on_chat_model_start(self, *args, **kwargs):
        Listener.on_chat_model_start(self, *args, **kwargs)

    async def on_llm_end(self, *args, **kwargs):
        Listener.on_llm_end(self, *args, **kwargs)

    async def on_llm_error(self, *args, **kwargs):
        Listener.on_llm_error(self, *args, **kwargs)


def run(form, runnable, *args, **kwargs):
    """Return the result of `batch` or `abatch`."""
    return runnable.batch(*args, **kwargs) if form == "batch" else asyncio.run(runnable.abatch(*args, **kwargs))


both = pytest.mark.parametrize("form", ["batch", "abatch"])


@both
def test_a_pipe_of_langchain_parts_reaches_the_engine_once(form, llm, calls):
    chain = ChatPromptTemplate.from_messages([("user", "Write about {topic}.")]) | llm | StrOutputParser()
    inputs = [{"topic": topic} for topic in TOPICS]
    alone = [chain.invoke(one) for one in inputs]
    sizes = calls(llm)
    assert run(form, chain, inputs) == alone
    assert sizes == [3]


@pytest.mark.parametrize("make", ["model", "pipe", "chain"])
def test_the_same_prompt_many_times_is_read_once(make, llama, tokenizer):
    """What is asked of the engine at once shares its beginning: all tokens but the last, of every prompt."""
    llm = LocalChat(llama, tokenizer, temperature=1, max_tokens=6)
    text = "Write about a long walk by the river."
    runnable, given = {
        "model": (llm, text),
        "pipe": (ChatPromptTemplate.from_messages([("user", "{x}")]) | llm | StrOutputParser(), {"x": text}),
        "chain": (LLMChain(llm=llm, prompt="{x}"), {"x": text}),
    }[make]
    llm.engine.weights_changed()
    before = llm.engine.stats()["prefix_tokens_reused"]
    answers = runnable.batch([given] * 5)
    assert len({str(answer) for answer in answers}) == 5
    assert llm.engine.stats()["prefix_tokens_reused"] - before == 5 * (len(llm.show(text).token_ids) - 1)


@both
def test_bound_settings_and_bound_stops_reach_the_engine_once(form, llm, calls):
    whole = llm.invoke("tea").text
    sizes = calls(llm)
    answers = run(form, llm.bind(max_tokens=10, stop=[whole[7:9]]), ["tea", "tea"])
    assert [answer.text for answer in answers] == [whole[:7]] * 2
    assert sizes == [2]


@both
def test_each_prompt_has_a_run_with_its_own_config(form, llm):
    listeners = [Listener(), AsyncListener()] if form == "abatch" else [Listener(), Listener()]
    configs = [
        {"callbacks": [one], "tags": [tag], "metadata": {"who": tag}} for one, tag in zip(listeners, "ab", strict=True)
    ]
    answers = run(form, llm, ["tea", "rain"], configs)
    for listener, tag, prompt, answer in zip(listeners, "ab", ["tea", "rain"], answers, strict=True):
        (start, begun, _, (tags, metadata, asked)), (end, ended, _, said) = listener.heard
        assert (start, end, begun) == ("start", "end", ended)
        assert (tags, metadata["who"], asked, said) == ([tag], tag, prompt, answer.text)
        assert metadata["ls_provider"] == "chaintune"
        assert answer.id == f"lc_run--{begun}-0"


def test_every_run_begins_before_the_engine_and_ends_after_it(llm, monkeypatch):
    listener, real = Listener(), llm.engine.outcomes
    monkeypatch.setattr(llm.engine, "outcomes", lambda requests: listener.heard.append(("engine",)) or real(requests))
    llm.batch(TOPICS, {"callbacks": [listener]})
    assert [event[0] for event in listener.heard] == ["start"] * 3 + ["engine"] + ["end"] * 3


@both
def test_one_bad_prompt_does_not_take_the_others_with_it(form, llm, calls):
    listener, long = Listener(), "x" * 300
    sizes = calls(llm)
    first, bad, strange, last = run(
        form, llm, ["tea", long, 5, "rain"], {"callbacks": [listener]}, return_exceptions=True
    )
    assert isinstance(first, AIMessage) and isinstance(last, AIMessage)
    assert isinstance(bad, UsageError) and "319 tokens" in str(bad)
    assert isinstance(strange, ValueError)
    assert sizes == [2]
    assert sorted(event[0] for event in listener.heard) == ["end", "end", "error", "start", "start", "start"]
    with pytest.raises(UsageError, match="319 tokens"):
        run(form, llm, ["tea", long])


@pytest.fixture
def poisoned():
    """A model that makes NaN of one letter, `~`, and of nothing else."""
    tok = make_tokenizer(TEMPLATE)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    made = LlamaForCausalLM(LlamaConfig(vocab_size=len(tok), max_position_embeddings=256, eos_token_id=1, **sizes))
    with torch.no_grad():
        made.model.embed_tokens.weight[tok.convert_tokens_to_ids("~")] = torch.nan
    return LocalChat(made.eval(), tok, temperature=0, max_tokens=12, logit_bias={tok.convert_tokens_to_ids("~"): -100})


@both
@pytest.mark.parametrize("listened", [True, False])
@pytest.mark.parametrize("n", [1, 2])
def test_a_prompt_that_the_engine_fails_on_does_not_take_the_others_with_it(form, poisoned, listened, n):
    listener = Listener()
    config = {"callbacks": [listener]} if listened else None
    expected = [poisoned.invoke(prompt).text for prompt in ("tea", "rain")]
    first, bad, last = run(form, poisoned, ["tea", "a~b", "rain"], config, return_exceptions=True, n=n)
    assert [first.text, last.text] == expected
    assert isinstance(bad, ModelError) and "not finite" in str(bad)
    if listened:
        assert sorted(event[0] for event in listener.heard) == ["end", "end", "error", "start", "start", "start"]
    with pytest.raises(ModelError, match="not finite"):
        run(form, poisoned, ["tea", "a~b"])


@both
def test_a_prompt_that_memory_has_no_room_for_does_not_take_the_others_with_it(form, llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=12)
    expected = llm.invoke("tea").text
    llm.engine.max_tokens = 60
    first, bad = run(form, llm, ["tea", "x" * 60], return_exceptions=True)
    assert first.text == expected
    assert isinstance(bad, UsageError) and "the engine has memory for 60" in str(bad)
    with pytest.raises(UsageError, match="has memory for 60"):
        list(llm.stream("x" * 60))


@both
def test_what_stops_the_engine_ends_every_run(form, llm, monkeypatch):
    def broken(requests, keep):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(llm.engine, "submit", broken)
    listener = Listener()
    assert [str(error) for error in run(form, llm, TOPICS, {"callbacks": [listener]}, return_exceptions=True)] == [
        "out of memory"
    ] * 3
    assert [event[0] for event in listener.heard] == ["start"] * 3 + ["error"] * 3
    assert not llm._shared


def test_an_interrupt_ends_every_run_and_is_passed_on(llm, monkeypatch):
    def stopped(requests):
        raise KeyboardInterrupt

    monkeypatch.setattr(llm.engine, "outcomes", stopped)
    listener = Listener()
    with pytest.raises(KeyboardInterrupt):
        llm.batch(TOPICS, {"callbacks": [listener]})
    assert [event[0] for event in listener.heard] == ["start"] * 3 + ["error"] * 3
    assert not llm._shared


@both
def test_a_langchain_cache_is_kept_and_read(form, llama, tokenizer, calls):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=6, cache=InMemoryCache())
    first = run(form, llm, TOPICS)
    sizes = calls(llm)
    assert [answer.text for answer in run(form, llm, TOPICS)] == [answer.text for answer in first]
    assert sizes == []


def test_a_model_in_memory_is_not_cached_unless_asked(llama, tokenizer, monkeypatch):
    from langchain_core.globals import set_llm_cache

    set_llm_cache(InMemoryCache())
    try:
        llm = LocalChat(llama, tokenizer, temperature=1, max_tokens=12)
        assert len({llm.invoke("tea").text for _ in range(3)}) == 3
    finally:
        set_llm_cache(None)


@both
def test_an_empty_batch_is_an_empty_list(form, llm):
    assert run(form, llm, []) == []


def test_two_batches_at_once_keep_their_answers_apart(llm):
    async def two():
        return await asyncio.gather(llm.abatch(TOPICS), llm.abatch(TOPICS[::-1]))

    one, other = asyncio.run(two())
    alone = [llm.invoke(topic).text for topic in TOPICS]
    assert [answer.text for answer in one] == alone
    assert [answer.text for answer in other] == alone[::-1]


def test_someone_who_listens_to_the_stream_of_a_batch_hears_it(llm):
    chain = ChatPromptTemplate.from_messages([("user", "{topic}")]) | llm

    async def pieces():
        events = chain.astream_events({"topic": "tea"}, version="v2")
        return [event["data"]["chunk"].text async for event in events if event["event"] == "on_chat_model_stream"]

    assert "".join(asyncio.run(pieces())) == llm.invoke("tea").text


@both
def test_a_batch_that_nobody_hears_says_the_same(form, llm):
    heard = run(form, llm, TOPICS, {"callbacks": [Listener()]}, logprobs=True)
    alone = run(form, llm, TOPICS, logprobs=True)
    for one, other in zip(heard, alone, strict=True):
        told, same = (message.model_dump(exclude={"id"}) for message in (one, other))
        assert told == same
    assert len({message.id for message in alone}) == 3


def test_a_chain_asks_a_local_model_past_the_callbacks_where_nobody_listens(llm, monkeypatch):
    entered, real = [], LocalChat.replies
    monkeypatch.setattr(
        LocalChat, "replies", lambda self, prompts, given: entered.append(len(prompts)) or real(self, prompts, given)
    )
    chain = LLMChain(llm=llm, prompt="{x}")
    whole = chain.invoke("tea", {"callbacks": [Listener()]})
    assert entered == []
    assert chain.invoke("tea") == whole
    assert [made["text"] for made in chain.batch(["tea", "tea"])] == [whole["text"]] * 2
    assert "".join(piece.get("text", "") for piece in chain.stream("tea")) == whole["text"]
    assert entered == [1, 2]


def test_awaiting_takes_no_thread_once_the_model_is_there(llm, monkeypatch):
    whole = llm.invoke("tea").text

    def refused(*given):
        raise AssertionError("a thread was taken")

    monkeypatch.setattr("chains.models.local_chat.run_in_executor", refused)

    async def ways():
        streamed = [chunk.text async for chunk in llm.astream("tea")]
        (one,) = await llm.abatch(["tea"])
        return "".join(streamed), one.text, (await llm.ainvoke("tea")).text

    assert asyncio.run(ways()) == (whole,) * 3


@pytest.mark.parametrize("form", ["ainvoke", "abatch", "astream"])
def test_who_leaves_frees_the_row(form, llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=200)

    async def left():
        if form == "astream":
            async for _ in llm.astream("tea"):
                await asyncio.sleep(60)
        await (llm.ainvoke("tea") if form == "ainvoke" else llm.abatch(["tea", "rain"]))

    async def bounded():
        slow = llm.engine._runner.run
        llm.engine._runner.run = lambda *given: time.sleep(0.02) or slow(*given)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await left()
        await asyncio.sleep(0.5)
        return llm.engine.stats()

    stats = asyncio.run(bounded())
    assert (stats["running"], stats["waiting"], stats["requests"]) == (0, 0, 0)
