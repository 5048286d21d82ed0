"""The steps of an agent in the run store: each model call with its exact messages, each tool call with its arguments and result.

Apart from chains/agent.py so that langchain's agents are imported when the first agent runs.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp

from chains.chain import Chain
from chains.model_call import chat_rows, note_reply
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.steps import Function

_PASSED_ON = ("callbacks", "tags", "metadata", "max_concurrency", "configurable")


class ModelTurn(Chain):
    """One call of the model by an agent."""

    def __init__(self, llm: Any, request: ModelRequest, call: Callable[[ModelRequest], Any]) -> None:
        self._llm, self._request = llm, request
        self._asking = Function(call, by_name=False)
        self.output_keys = ("response",)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        request = self._request
        messages = [*([request.system_message] if request.system_message else []), *request.messages]
        runs[0].messages = chat_rows(messages)
        made = yield Call(self._asking, [request], configs)
        each(lambda response: note_reply(runs[0], self._llm, {}, _message(response)), made)
        return each(lambda response: {"response": response}, made)


class ToolTurn(Chain):
    """One call of a tool by an agent."""

    def __init__(self, request: ToolCallRequest, call: Callable[[ToolCallRequest], Any]) -> None:
        self._request = request
        self._calling = Function(call, by_name=False)
        self.output_keys = ("result",)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        made = yield Call(self._calling, [self._request], configs)
        return each(lambda result: {"result": result}, made)


class Recording(AgentMiddleware):
    """Records each step under the agent's run, and gives a tool's error to the model."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
        """Call the model."""
        return ModelTurn(self._llm, request, handler).invoke({}, _config("model"))["response"]

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Call the model, awaiting."""
        return (await ModelTurn(self._llm, request, _awaiting(handler)).ainvoke({}, _config("model")))["response"]

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Call the tool; its error becomes its result."""
        call = request.tool_call
        try:
            return ToolTurn(request, handler).invoke(call["args"], _config(call["name"]))["result"]
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _told(call, error)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Call the tool, awaiting."""
        call = request.tool_call
        try:
            return (await ToolTurn(request, _awaiting(handler)).ainvoke(call["args"], _config(call["name"])))["result"]
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _told(call, error)


def middleware(llm: Any) -> AgentMiddleware:
    """Return what an agent of `llm` is given to be recorded."""
    return Recording(llm)


def _config(name: str) -> RunnableConfig:
    """Return the config of the graph's step that is running, for a run called `name`."""
    here = get_config()
    return {"run_name": name, **{key: here[key] for key in _PASSED_ON if key in here}}  # type: ignore[typeddict-item,literal-required]


def _awaiting(handler: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Any]:
    async def call(request: Any) -> Any:
        return await handler(request)

    return call


def _message(response: Any) -> AIMessage | None:
    found = [message for message in response.result if isinstance(message, AIMessage)]
    return found[-1] if found else None


def _told(call: Mapping[str, Any], error: Exception) -> ToolMessage:
    return ToolMessage(f"{type(error).__name__}: {error}", tool_call_id=call["id"], name=call["name"], status="error")
