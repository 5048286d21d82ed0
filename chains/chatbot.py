"""A conversation with a model, remembered, and answered from documents where there is a retriever.

bot = Chatbot(llm, retriever=library.as_retriever(), session="u42")
answer = bot.ask("How long is half-time?")
answer.text, answer.citations
bot.feedback(answer.id, rating=+1)
Chatbot(llm, tools=[add], summarise_after=2000).ask("2 + 3?").calls
"""

import warnings
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from chains import memory
from chains.agent import Agent, ToolUse
from chains.chain import Chain
from chains.chunks import Chunk
from chains.citations import Citation
from chains.errors import MachineError, UsageError
from chains.llm_chain import LLMChain
from chains.plan import Call, Plan, closing, each
from chains.prompt import Prompt
from chains.remembering import Recalled, Remembering
from chains.retrieval_chain import RetrievalChain, says_nothing
from chains.runs.conversation import Conversation
from chains.runs.rating import feedback
from chains.runs.record import OpenRun
from chains.steps import Function
from chains.tokens import context_of

_ENOUGH = 2048  # tokens of context: a model with less has other use for them than rewriting questions


@dataclass(frozen=True)
class Answer:
    """What a chatbot said. `id` names the run, for feedback; `usage` counts tokens where the model does; `calls` are its tools' calls;
    `notes` say, in the question's language, what did not go as it should have: that no passage supports the answer, for one. `support` is the
    share of the answer that its citations hold (citations.py), None where there is no retriever."""

    id: str
    text: str
    citations: list[Citation]
    usage: dict[str, int]
    calls: tuple[ToolUse, ...] = ()
    notes: tuple[str, ...] = ()
    support: float | None = None


class Chatbot(Chain):
    """One conversation. The model is given the latest exchanges: at most `turns` of them and `characters` of text, and of
    a local model no more than it has room for. With `summarise_after` (tokens) it is given all that was said, the older part of it
    as a summary that the model writes.

    With `tools` it may call them (see Agent). With a `retriever`, `condense` says whether the model first rewrites a follow-up question so
    that it can be searched for alone; None does so where the model's context is 2048 tokens or more, or not known; and `quotes` whether
    citations are "matched", the nearest sentences, or "decoded", what a local model copies from the passages (RetrievalChain).

    As a chain it takes `question` and makes `answer`, `citations`, `support`, `id`, `usage`, `calls` and `notes`; `ask` and `stream` are for people.
    The conversation is the session's, whichever Chatbot names it; questions of a batch are asked one after another.
    """

    def __init__(
        self,
        llm: Runnable[Any, Any],
        retriever: Runnable[Any, Any] | None = None,
        session: str = "default",
        system: str | None = None,
        turns: int = 10,
        characters: int = 6000,
        *,
        tools: Sequence[Any] = (),
        max_steps: int = 8,
        summarise_after: int | None = None,
        condense: bool | None = None,
        quotes: str = "matched",
    ) -> None:
        self.session = session
        self.last: Answer | None = None
        self.input_keys = ("question",)
        self.output_keys = ("answer", "citations", "support", "id", "usage", "calls", "notes")
        self._conversation = Conversation(session)
        self._chain = _answering(llm, retriever, system, tools, max_steps, quotes)
        self._system = {"system": system} if system is not None and isinstance(self._chain, LLMChain) else {}
        self._memory = Remembering(llm, self._conversation, turns, characters, summarise_after)
        self._condense = condense
        self._llm = llm

    def ask(self, text: str, config: RunnableConfig | None = None) -> Answer:
        """Return the answer to `text`, and remember both."""
        self.last = _answer(self.invoke(text, config))
        return self.last

    async def aask(self, text: str, config: RunnableConfig | None = None) -> Answer:
        """Return the answer to `text`, awaiting."""
        self.last = _answer(await self.ainvoke(text, config))
        return self.last

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the answer's text as it comes; when it has, `last` is the whole Answer. An answer left half-read is not remembered."""
        whole = Chunk()
        for chunk in super().stream(input, config, **kwargs):
            whole += chunk
            if chunk.get("answer"):
                yield chunk["answer"]
        self.last = _answer(whole)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Yield what stream yields, awaiting."""
        whole = Chunk()
        async with closing(super().astream(input, config, **kwargs)) as chunks:
            async for chunk in chunks:
                whole += chunk
                if chunk.get("answer"):
                    yield chunk["answer"]
        self.last = _answer(whole)

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """In a pipe, pass on the chain's dict, not the text alone."""
        whole = None
        for piece in input:
            whole = piece if whole is None else whole + piece
        yield from super().stream(whole, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """In a pipe, pass on the chain's dict, awaiting."""
        whole = None
        async for piece in input:
            whole = piece if whole is None else whole + piece
        async with closing(super().astream(whole, config, **kwargs)) as chunks:
            async for chunk in chunks:
                yield chunk

    def history(self) -> list[dict[str, str]]:
        """Return the whole conversation as chat rows."""
        pairs = self._conversation.exchanges()
        return [
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]

    def clear(self) -> None:
        """Forget the conversation and its summary. What was recorded of its runs stays."""
        self._conversation.clear()

    def search(self, text: str, limit: int = 20) -> list[memory.Exchange]:
        """Return the exchanges of this conversation that hold `text`, newest first."""
        return memory.search(text, self.session, limit)

    def export(self, path: str | Path) -> None:
        """Write this conversation as one chat row of JSONL. Raises UsageError where nothing was said yet."""
        memory.export(path, self.session)

    def feedback(
        self, id: str, rating: int | None = None, correction: str | None = None, comment: str | None = None
    ) -> None:
        """Keep what a person thinks of the answer `id`: a rating (+1 or -1), the answer as it should be, a comment."""
        feedback(id, rating=rating, correction=correction, comment=comment)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        made: list[Any] = []
        for given, config, run in zip(inputs, configs, runs, strict=True):
            run.session = self.session
            if isinstance(given, Exception):
                made.append(given)
                continue
            try:
                recalled = yield from self._recall(given["question"], config)
            except Exception as error:  # of the memory's file: it is this question's result, not its batch's
                made.append(error)
                continue
            asked = yield Call(Function(partial(self._fitting, kwargs=kwargs), by_name=False), [recalled], [config])
            replies = yield Call(self._chain, asked, [config], kwargs, shown=True)
            made += each(self._remembered, [given], replies, [run], [recalled])
        return made

    def _piece(self, piece: Any) -> dict[str, Any]:
        return {"answer": piece["answer"]} if "answer" in piece else {}

    def _main_key(self) -> str:
        return "answer"

    def _given(self, value: Any) -> dict[str, Any]:
        given = super()._given(value)
        if not isinstance(given["question"], str) or not given["question"].strip():
            raise UsageError(f"the question is {given['question']!r}; ask with a text that is not empty")
        return given

    def _recall(self, question: str, config: RunnableConfig) -> Generator[Call, list[Any], Recalled]:
        (recalled,) = yield from self._memory.recall(question, config)
        if recalled.history and self._condenses():
            (recalled,) = yield from self._memory.condense(recalled, config)
        return recalled

    def _condenses(self) -> bool:
        if not isinstance(self._chain, RetrievalChain):
            return False
        return context_of(self._llm) >= _ENOUGH if self._condense is None else self._condense

    def _fitting(self, recalled: Recalled, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the chain's inputs, with as much of the history as there is room for."""
        history = recalled.history
        while True:
            inputs = {"question": recalled.question, "history": history, **self._system}
            if not history or not isinstance(self._chain, LLMChain) or self._chain.fits(inputs, kwargs):
                return inputs
            history = history[2:]

    def _remembered(
        self, given: Mapping[str, Any], reply: Mapping[str, Any], run: OpenRun, recalled: Recalled
    ) -> dict[str, Any]:
        try:
            self._conversation.add(given["question"], reply["answer"], run.id)
        except MachineError as error:  # the answer is there: losing it too would mend nothing
            warnings.warn(f"this exchange is not remembered: {error}", RuntimeWarning, stacklevel=2)
        if "support" in reply and not reply["support"] and not says_nothing(reply["answer"]):
            recalled.note("no support", None)
        return {
            "answer": reply["answer"],
            "citations": reply.get("citations", []),
            "support": reply.get("support"),
            "id": run.id,
            "usage": dict(run.usage),
            "calls": reply.get("calls", []),
            "notes": recalled.notes,
        }


def _answering(
    llm: Runnable[Any, Any],
    retriever: Runnable[Any, Any] | None,
    system: str | None,
    tools: Sequence[Any],
    max_steps: int,
    quotes: str,
) -> LLMChain | RetrievalChain | Agent:
    if retriever is not None and tools:
        raise UsageError(
            "a Chatbot takes a retriever or tools; to have both, give the retriever as a tool: langchain_core's create_retriever_tool"
        )
    if retriever is not None:
        return RetrievalChain(llm=llm, retriever=retriever, system=system, quotes=quotes)
    if quotes != "matched":
        raise UsageError(
            f"quotes={quotes!r} is about citations, which come from a retriever; give one, or leave quotes out"
        )
    if tools:
        return Agent(llm, tools, system=system, max_steps=max_steps)
    prompt = Prompt.chat(system=None if system is None else "{system}", history="history", user="{question}")
    return LLMChain(llm=llm, prompt=prompt, output_key="answer")


def _answer(made: Mapping[str, Any]) -> Answer:
    return Answer(
        made["id"],
        made["answer"],
        made["citations"],
        made["usage"],
        tuple(made["calls"]),
        tuple(made["notes"]),
        made["support"],
    )
