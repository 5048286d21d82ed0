"""One prompt, one model call, one output.

    LLMChain(llm=llm, prompt="Describe a perfect day in {city}.").run("Paris")

`prompt` is a template's text, a Prompt, or any langchain_core template; `output_parser` is any langchain_core parser.

    LLMChain(llm=llm, prompt="Extract: {text}", output=Person, output_key="person").run("Ana is 31.")    # a Person

`output` is a pydantic class: a local model decodes under its schema and cannot answer anything else; of any other model it is asked
with `with_structured_output`. An answer that max_tokens cut off raises TruncatedError.
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel

from chains import quiet
from chains.chain import Chain
from chains.errors import UsageError, WiringError
from chains.model_call import chat_rows, fits, inner_model, note_reply, text_of
from chains.models.structured import ParsedValue, ValueParser, decoded_under
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
        output: type[BaseModel] | None = None,
        verbose: bool = False,
    ) -> None:
        self.llm = checked_llm(llm)
        self.prompt = _template(prompt)
        self.output = _checked_output(output, output_parser)
        self.output_parser = output_parser
        self._model, self._parser = _under(self.llm, output) if output else (self.llm, output_parser)
        self._at_once = isinstance(self._parser, ParsedValue)  # its pieces are no text, and only the last is the value
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
        replies = yield Call(self._model, prompts, configs, kwargs, shown=not self._at_once, through=self._parser)
        said = each(_raw, replies)
        each(lambda run, reply: note_reply(run, self.llm, kwargs, reply), runs, said)
        if self.verbose:
            each(_print, runs, said)
        if self._parser is None:
            values = each(text_of, replies)
        else:
            values = yield Call(self._parser, replies, configs)
        return each(lambda value: {self.output_keys[0]: value}, values)

    def lanes(self) -> int:
        """Return how many calls the model takes at once, whenever each of them comes."""
        return int(getattr(inner_model(self._model), "lanes", 0))

    def _has_short_way(self, kwargs: Mapping[str, Any]) -> bool:
        return self._parser is None and not self.verbose and quiet.has_replies(self.llm, kwargs)

    def _one(self, given: Mapping[str, Any], run: OpenRun, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        messages = self._messages(given)
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
        return self._template(inputs).format_prompt(**self._taken(inputs))

    def _messages(self, given: Mapping[str, Any]) -> list[BaseMessage]:
        """Return the prompt's messages from inputs that are all there; a Prompt makes them without a value around them."""
        template = self._template(given)
        if type(template) is Prompt:
            return template.messages(self._taken(given))
        return template.format_prompt(**self._taken(given)).to_messages()

    def _template(self, inputs: Mapping[str, Any]) -> BasePromptTemplate[Any]:
        """Return the template for these inputs."""
        return self.prompt

    def _taken(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {key: inputs[key] for key in (*self.input_keys, *self.optional_keys) if key in inputs}


def _checked_output(output: Any, output_parser: Any) -> type[BaseModel] | None:
    if output is None:
        return None
    if output_parser is not None:
        raise UsageError("output and output_parser both make the value; give one of them")
    if not (isinstance(output, type) and issubclass(output, BaseModel)):
        raise UsageError(f"output is {output!r}; give a pydantic class, such as: class Person(BaseModel): name: str")
    return output


def _under(llm: Any, output: type[BaseModel]) -> tuple[Runnable[Any, Any], Runnable[Any, Any]]:
    """Return `llm` answering under `output`'s schema, and what makes its answer an instance.

    Raises UsageError for a model that can neither decode under a schema nor be asked for structured output.
    """
    if hasattr(llm, "decoded_under"):
        return decoded_under(llm, output), ValueParser(output)
    try:
        return llm.with_structured_output(output, include_raw=True), ParsedValue()
    except (AttributeError, NotImplementedError) as error:
        raise _no_output(llm) from error


def _no_output(llm: Any) -> UsageError:
    return UsageError(
        f"{type(llm).__name__} cannot answer under a schema, so output= cannot be used with it; "
        "use a local model, one with with_structured_output, or an output_parser"
    )


def _raw(reply: Any) -> Any:
    """Return the model's message; structured output brings it beside the value."""
    return reply["raw"] if isinstance(reply, dict) and "parsing_error" in reply else reply


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
