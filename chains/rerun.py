"""A recorded model call, made again with another model: the same messages, to the token, and a run of its own beside the first.

rerun("4f2a91c07be35d18", load_model("ft:starter:local:hobanne:…"))    # ("what was said before", "what is said now", the new run's id)
"""

from typing import Any, NamedTuple

from langchain_core.messages import convert_to_messages
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable

from chains import runs
from chains.errors import UsageError
from chains.llm_chain import LLMChain
from chains.runs.read import Run, last_call
from chains.runs.record import is_off


class Rerun(NamedTuple):
    """The call that was made again, and the run that it is now."""

    before: Run
    after: Run


def called(id: str) -> Run:
    """Return the model call of a run: the run itself, or the last of its steps. Raises UsageError where it made none."""
    run = runs.get(id)
    call = last_call(run)
    if call is None:
        raise UsageError(
            f"run {id!r} ({run.name}) called no model, so there is nothing to make again; see: chaintune runs show {id}"
        )
    return call


def rerun(id: str, llm: Runnable[Any, Any]) -> Rerun:
    """Return what `llm` makes of the messages of the run `id`. Raises UsageError where that called no model, or runs are off."""
    call = called(id)
    if is_off():
        raise UsageError("runs are off (CHAINTUNE_RUNS), and a call made again is one; switch them on")
    chain = LLMChain(llm=llm, prompt=ChatPromptTemplate([MessagesPlaceholder("messages")]), output_key="answer")
    again = runs.new_id()
    config: Any = {"run_id": again, "run_name": f"rerun of {call.id}"}  # an id of ours, which is no UUID
    chain.invoke({"messages": convert_to_messages(call.messages or [])}, config)
    return Rerun(call, runs.get(again))
