"""The shorter way where nobody listens: the same results, errors and runs, and whoever does listen hears everything."""

import asyncio
import subprocess
import sys

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs, register_configure_hook

from chains import LLMChain, Prompt, SequentialChain, SimpleSequentialChain, named, quiet, runs
from chains.errors import UsageError
from chains.models.fake import FakeChat


@pytest.fixture
def llm(monkeypatch):
    model = FakeChat(["one two", "three", "four"])
    entered = []
    whole = FakeChat.replies

    def replies(self, prompts, given):
        entered.append(len(prompts))
        return whole(self, prompts, given)

    monkeypatch.setattr(FakeChat, "replies", replies)
    return model, entered


def shape(run):
    """What of a run does not depend on when it ran."""
    return (run.name, run.session, run.inputs, run.messages, run.answer, run.output, run.model, run.sampling, run.usage, run.error,
            tuple(map(shape, run.steps)))  # fmt: skip


def last():
    return shape(runs.get(runs.recent(1)[0].id))


class Deaf(BaseCallbackHandler):
    """A handler that does nothing: its presence alone makes chains take langchain_core's whole way."""


FULL = {"callbacks": [Deaf()]}


def make(kind):
    llm = FakeChat(["one two", "three", "four"])
    first = LLMChain(llm=llm, prompt=Prompt.chat(system="S", user="{x}"), output_key="a")
    if kind == "one":
        return first
    if kind == "parsed":
        return LLMChain(llm=llm, prompt="{x}", output_parser=StrOutputParser())
    if kind == "history":
        return LLMChain(llm=llm, prompt=Prompt.chat(user="{x}", history="h"))
    second = LLMChain(llm=llm, prompt="And {a}", output_key="b")
    if kind == "two":
        return SequentialChain(chains=[first, second, named(lambda b: first.run(b), "c")], input_variables=["x"])
    return SimpleSequentialChain(chains=[first, str.upper, second])


@pytest.mark.parametrize("kind", ["one", "parsed", "history", "two", "simple"])
def test_the_short_way_gives_the_same_results_and_runs(kind):
    key = make(kind).input_keys[0]
    ways = [
        lambda chain, config: chain.invoke({key: "hi"}, config),
        lambda chain, config: chain.invoke("hi", config),
        lambda chain, config: chain.batch([{key: "hi"}, {key: "ho"}], config),
        lambda chain, config: asyncio.run(chain.ainvoke({key: "hi"}, config)),
        lambda chain, config: [dict(chunk) for chunk in chain.stream({key: "hi"}, config)],
    ]
    for way in ways:
        short, short_run = way(make(kind), None), last()
        whole, whole_run = way(make(kind), FULL), last()
        assert short == whole
        assert short_run == whole_run


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({"y": 1}, {}),  # a variable is missing
        ({"x": "hi"}, {"max_tokens": 0}),  # a setting out of range
        ({"x": "hi"}, {"maximum": 1}),  # a setting that there is not
    ],
)
def test_the_short_way_gives_the_same_errors(given, settings):
    said = []
    for config in (None, FULL):
        with pytest.raises(UsageError) as failed:
            make("one").invoke(given, config, **settings)
        said.append((str(failed.value), last()))
    assert said[0] == said[1]


def test_settings_of_a_call_count_on_the_short_way(llm):
    model, entered = llm
    assert LLMChain(llm=model, prompt="{x}").invoke("hi", max_tokens=1)["text"] == "one"
    assert entered == [1]
    assert runs.recent(1)[0].sampling["max_tokens"] == 1


def test_nobody_listening_takes_the_short_way(llm):
    model, entered = llm
    chain = LLMChain(llm=model, prompt="{x}")
    chain.invoke("a")
    chain.batch(["b", "c"])
    asyncio.run(chain.ainvoke("d"))
    assert entered == [1, 2, 1]


def test_a_handler_hears_the_chain_and_the_model(llm, listener):
    model, entered = llm
    LLMChain(llm=model, prompt="{x}").invoke("a", {"callbacks": [listener]})
    assert listener.heard == ["chain start", "model start", "model end", "chain end"]
    assert entered == []


def test_a_handler_of_the_model_hears_it(llm, listener):
    model, entered = llm
    model.callbacks = [listener]
    LLMChain(llm=model, prompt="{x}").invoke("a")
    assert listener.heard == ["model start", "model end"]
    assert entered == []


def test_a_parent_run_hears_its_chain(llm, listener):
    model, entered = llm
    chain = LLMChain(llm=model, prompt="{x}")
    RunnableLambda(lambda x: chain.invoke(x)).invoke("a", {"callbacks": [listener]})
    assert listener.heard.count("chain start") == 2
    assert "model start" in listener.heard
    assert entered == []


def test_a_tracer_in_the_context_hears_the_chain(llm):
    model, entered = llm
    with collect_runs() as collected:
        LLMChain(llm=model, prompt="{x}").invoke("a")
    assert [run.name for run in collected.traced_runs] == ["LLMChain"]
    assert entered == []


def test_a_hook_of_langchain_core_is_asked(llm, listener):
    from contextvars import ContextVar

    model, entered = llm
    hook = ContextVar("hook", default=None)
    register_configure_hook(hook, inheritable=True)
    hook.set(listener)
    LLMChain(llm=model, prompt="{x}").invoke("a")
    hook.set(None)
    assert "model end" in listener.heard
    assert entered == []


def test_the_cache_is_asked(llm):
    model, entered = llm
    set_llm_cache(InMemoryCache())
    try:
        chain = LLMChain(llm=model, prompt="{x}")
        assert [chain.run("a"), chain.run("a")] == ["one two", "one two"]
    finally:
        set_llm_cache(None)
    assert entered == []


def test_the_configs_name_and_session_are_recorded(llm):
    model, _ = llm
    config = {"run_name": "mine", "tags": ["t"], "metadata": {"session_id": "s"}}
    LLMChain(llm=model, prompt="{x}").invoke("a", config)
    assert last()[:2] == ("mine", "s")


def test_the_configs_tags_and_metadata_reach_a_handler(llm):
    heard = []

    class Tags(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, tags, metadata, **kwargs):
            heard.append((tags, metadata["k"]))

    LLMChain(llm=llm[0], prompt="{x}").invoke("a", {"tags": ["t"], "metadata": {"k": 1}, "callbacks": [Tags()]})
    assert heard == [(["t"], 1)]


def test_a_subclass_that_answers_otherwise_is_asked_itself():
    class Loud(FakeChat):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            made = super()._generate(messages, stop, run_manager, **kwargs)
            made.generations[0].message.content = "LOUD"
            return made

    assert LLMChain(llm=Loud(["soft"]), prompt="{x}").run("a") == "LOUD"


def test_a_context_without_signs_is_quiet():
    assert quiet.nobody_listens()
    with collect_runs():
        assert not quiet.nobody_listens()


TRACED = """
import socket
tried = []
socket.socket.connect = lambda self, address: tried.append(address) or (_ for _ in ()).throw(OSError("no network"))
socket.getaddrinfo = lambda *names, **more: tried.append(names) or (_ for _ in ()).throw(OSError("no network"))
import chains
from chains import LLMChain, quiet
from chains.models.fake import FakeChat
chain = LLMChain(llm=FakeChat(["yes"]), prompt="{x}")
before = list(tried)
assert chain.run("a") == "yes"
print(len(before), quiet.nobody_listens(), len(tried) if TRACING == "false" else "")
"""


@pytest.mark.parametrize(("tracing", "said"), [("false", "0 True 0"), ("true", "0 False")])
def test_langsmith_is_reached_only_by_who_asks_for_it(tracing, said, monkeypatch):
    """With LANGSMITH_TRACING=true the user's own langchain_core traces, as with any Runnable; importing reaches for nothing either way."""
    monkeypatch.setenv("LANGSMITH_TRACING", tracing)
    done = subprocess.run(
        [sys.executable, "-c", f"TRACING={tracing!r}\n{TRACED}"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == said, done.stderr
