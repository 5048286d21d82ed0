"""One prompt, one model call, one output.

    LLMChain(llm=llm, prompt="Describe a perfect day in {city}.").run("Paris")

`prompt` is a template's text, a Prompt, or any langchain_core template; `output_parser` is any langchain_core parser.
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig

from chains import quiet
from chains.chain import Chain
from chains.errors import UsageError, WiringError
from chains.model_call import chat_rows, fits, note_reply, text_of
from chains.plan import Call, Plan, each
from chains.prompt import Prompt, missing_variable
from chains.runs.record import OpenRun


class LLMChain(Chain):
    """Fills the prompt with the inputs, asks the model, and gives the answer under `output_key`."""

    def __init__(
        self,
        *,
        llm: Runnable[Any, Any],
        prompt: str | BasePromptTemplate[Any],
        output_key: str = "text",
        output_parser: Runnable[Any, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        self.llm = checked_llm(llm)
        self.prompt = _template(prompt)
        self.output_parser = output_parser
        self.verbose = verbose
        self.input_keys = tuple(self.prompt.input_variables)
        self.optional_keys = tuple(self.prompt.optional_variables)
        self.output_keys = (output_key,)
        if output_key in (*self.input_keys, *self.optional_keys):
            raise WiringError(f"output_key {output_key!r} is also a variable of the prompt; choose another output_key")

    def show(self, **inputs: Any) -> Any:
        """Return what the model would be given, exactly: its own account of text and token ids where it has one, else the text."""
        self.check_names(inputs)
        value = self._prompt_value(inputs)
        show = getattr(self.llm, "show", None)
        return show(value.to_messages()) if show is not None else value.to_string()

    def fits(self, inputs: Mapping[str, Any], kwargs: Mapping[str, Any]) -> bool:
        """Say whether the prompt of these inputs leaves the model room to answer."""
        return fits(self.llm, self._prompt_value(inputs).to_messages(), kwargs)

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        prompts = each(self._prompt_value, inputs)
        each(_note_prompt, runs, prompts)
        replies = yield Call(self.llm, prompts, configs, kwargs, shown=True, through=self.output_parser)
        each(lambda run, reply: note_reply(run, self.llm, kwargs, reply), runs, replies)
        if self.verbose:
            each(_print, runs, replies)
        if self.output_parser is None:
            values = each(text_of, replies)
        else:
            values = yield Call(self.output_parser, replies, configs)
        return each(lambda value: {self.output_keys[0]: value}, values)

    def _has_short_way(self, kwargs: Mapping[str, Any]) -> bool:
        return self.output_parser is None and not self.verbose and quiet.has_replies(self.llm, kwargs)

    def _one(self, given: Mapping[str, Any], run: OpenRun, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        taken = (*self.input_keys, *self.optional_keys)
        messages = self.prompt.format_prompt(**{key: given[key] for key in taken if key in given}).to_messages()
        run.messages = chat_rows(messages)
        reply = quiet.reply(self.llm, messages, kwargs)
        note_reply(run, self.llm, kwargs, reply)
        return {self.output_keys[0]: text_of(reply)}

    def _piece(self, piece: Any) -> dict[str, Any]:
        text = text_of(piece)
        return {} if text == "" else {self.output_keys[0]: text}

    def _prompt_value(self, inputs: Mapping[str, Any]) -> PromptValue:
        if error := missing_variable(self.get_name(), self.input_keys, inputs):
            raise error
        taken = (*self.input_keys, *self.optional_keys)
        return self.prompt.format_prompt(**{key: inputs[key] for key in taken if key in inputs})


def checked_llm(llm: Any) -> Runnable[Any, Any]:
    """Return `llm`. Raises UsageError where it is not something that can be called."""
    if not isinstance(llm, Runnable):
        raise UsageError(f"llm is a {type(llm).__name__}; give a chat model, such as load_model('starter')")
    return llm


def _template(prompt: Any) -> BasePromptTemplate[Any]:
    if isinstance(prompt, str):
        return Prompt(prompt)
    if not isinstance(prompt, BasePromptTemplate):
        raise UsageError(
            f"prompt is a {type(prompt).__name__}; give a template's text, a Prompt or a langchain_core template"
        )
    return prompt


def _note_prompt(run: OpenRun, prompt: PromptValue) -> None:
    run.messages = chat_rows(prompt.to_messages())


def _print(run: OpenRun, reply: Any) -> None:
    prompt = "\n".join(f"{row['role']}: {row['content']}" for row in run.messages or [])
    print(f"[{run.name}] prompt\n{prompt}\n[{run.name}] answer\n{text_of(reply)}\n")
