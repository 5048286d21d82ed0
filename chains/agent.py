"""A model that may call tools until it has an answer: LangChain's `create_agent`, with every step recorded.

    Agent(llm, tools=[add]).run("What is 2 + 3?")
    Agent(llm, tools=[add]).invoke("What is 2 + 3?")["calls"]       # [ToolUse(name="add", args={"a": 2, "b": 3}, result="5", error=None)]

A tool is a langchain_core tool or a function with a docstring and type hints. A tool that fails tells the model how, and the model goes on.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool

from chains.chain import Chain
from chains.chunks import Chunk
from chains.errors import ModelError, UsageError
from chains.llm_chain import checked_llm
from chains.model_call import text_of
from chains.plan import Call, Plan, closing, each
from chains.runs.record import OpenRun


@dataclass(frozen=True)
class ToolUse:
    """One call of a tool: what came back, as text, or the error that the model was shown."""

    name: str
    args: dict[str, Any]
    result: str | None
    error: str | None


class Agent(Chain):
    """Takes `question` (and `history`, messages); makes `answer` and `calls`, the tool calls in their order.

    The model is called at most `max_steps` times; a model that then still wants a tool is a ModelError. A stream yields `calls` as they
    come, and the answer when it is there.
    """

    def __init__(
        self, llm: Runnable[Any, Any], tools: Sequence[Any], *, system: str | None = None, max_steps: int = 8
    ) -> None:
        if max_steps < 1:
            raise UsageError(f"max_steps={max_steps} cannot be used; give at least 1")
        self.llm = checked_llm(llm)
        self.tools = [_tool(one) for one in tools]
        self.system = system
        self.max_steps = max_steps
        self.input_keys, self.optional_keys, self.output_keys = ("question",), ("history",), ("answer", "calls")
        if self.tools:
            _check_takes_tools(llm, self.tools)

    @cached_property
    def _graph(self) -> Any:
        from langchain.agents import create_agent

        from chains.agent_steps import middleware

        llm: Any = self.llm
        return create_agent(llm, self.tools, system_prompt=self.system, middleware=[middleware(llm)])

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        if kwargs:
            raise UsageError(f"an Agent takes no {', '.join(kwargs)}; bind it on the model: llm.bind(...)")
        loop = Loop(self._graph, self.max_steps)
        asked = each(lambda given: [*(given.get("history") or []), HumanMessage(given["question"])], inputs)
        return (yield Call(loop, asked, configs, shown=True))

    def _piece(self, piece: Any) -> dict[str, Any]:
        return dict(piece)

    def _main_key(self) -> str:
        return "answer"


class Loop(Runnable[list[BaseMessage], dict[str, Any]]):
    """The agent's graph, from messages to the answer and the calls."""

    def __init__(self, graph: Any, max_steps: int) -> None:
        self._graph, self._max_steps = graph, max_steps

    def invoke(self, input: list[BaseMessage], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        whole = Chunk()
        for piece in self.stream(input, config):
            whole += piece
        return dict(whole)

    async def ainvoke(
        self, input: list[BaseMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        whole = Chunk()
        async for piece in self.astream(input, config):
            whole += piece
        return dict(whole)

    def stream(
        self, input: list[BaseMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the calls so far whenever there is one more, then the answer."""
        news = News(len(input), self._max_steps)
        for state in self._graph.stream({"messages": input}, self._bounded(config), stream_mode="values"):
            yield from news.of(state["messages"])
        yield news.answer()

    async def astream(
        self, input: list[BaseMessage], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield what stream yields, awaiting."""
        news = News(len(input), self._max_steps)
        states = self._graph.astream({"messages": input}, self._bounded(config), stream_mode="values")
        async with closing(states):
            async for state in states:
                for piece in news.of(state["messages"]):
                    yield piece
        yield news.answer()

    def _bounded(self, config: RunnableConfig | None) -> RunnableConfig:
        # News ends it earlier, before the tools of the last step run
        return {**(config or {}), "recursion_limit": 2 * self._max_steps + 1}


class News:
    """What a graph's messages add to those seen before."""

    def __init__(self, given: int, max_steps: int) -> None:
        self._given, self._max_steps = given, max_steps
        self._last: BaseMessage | None = None
        self.calls: list[ToolUse] = []

    def of(self, messages: Sequence[BaseMessage]) -> Iterator[Chunk]:
        """Yield the calls so far where there are more than before. Raises ModelError where the steps are used up without an answer."""
        new = messages[self._given :]
        calls, self._last = uses(new), messages[-1]
        if isinstance(self._last, AIMessage) and self._last.tool_calls:
            steps = sum(isinstance(message, AIMessage) for message in new)
            if steps >= self._max_steps:
                wanted = ", ".join(f"{call['name']}({call['args']})" for call in self._last.tool_calls)
                raise ModelError(
                    f"no answer after {steps} steps, and the model still wants {wanted}; give a greater max_steps"
                )
        if len(calls) > len(self.calls):
            self.calls = calls
            yield Chunk(calls=list(calls))

    def answer(self) -> Chunk:
        """Return the last message's text, with all calls."""
        return Chunk(answer=text_of(self._last), calls=list(self.calls))


def uses(messages: Sequence[BaseMessage]) -> list[ToolUse]:
    """Return the tool calls that have come back."""
    asked = {call["id"]: call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls}
    found = []
    for reply in messages:
        if isinstance(reply, ToolMessage) and reply.tool_call_id in asked:
            call, text = asked[reply.tool_call_id], str(reply.text)
            failed = reply.status == "error"
            found.append(ToolUse(call["name"], call["args"], None if failed else text, text if failed else None))
    return found


def _check_takes_tools(llm: Any, tools: Sequence[BaseTool]) -> None:
    """Raise UsageError where `llm` takes no tools: now, not in the middle of a conversation."""
    try:
        llm.bind_tools(tools)
    except (AttributeError, NotImplementedError) as error:
        raise UsageError(f"{type(llm).__name__} takes no tools; give a chat model that does") from error


def _tool(given: Any) -> BaseTool:
    if isinstance(given, BaseTool):
        return given
    if not callable(given):
        raise UsageError(f"{given!r} is no tool; a tool is a function with a docstring, or a langchain_core tool")
    try:
        return as_tool(given)
    except (ValueError, TypeError) as error:
        name = getattr(given, "__name__", repr(given))
        raise UsageError(f"{name} cannot be a tool: {error}; give it a docstring and type hints") from error
