"""A local model with some of its call's arguments given: LangChain's binding, whose `show`, tools and schemas know them."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableBinding

from chains.models.chat_prompt import Shown
from chains.models.structured import decoded_under, with_structured_output


class BoundChat(RunnableBinding[LanguageModelInput, AIMessage]):
    """What `LocalChat.bind`, `bind_tools` and `with_structured_output` build on."""

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with more arguments given. Raises UsageError for one that it does not take."""
        self.bound.bind(**{**self.kwargs, **kwargs})
        return super().bind(**kwargs)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools; what was given before stays."""
        return self.bind(**self.bound.bind_tools(tools, **kwargs).kwargs)  # type: ignore[attr-defined]

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: str = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model answering under a schema; what was given before stays."""
        return with_structured_output(self, schema, method, include_raw, kwargs)

    def decoded_under(self, schema: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model answering in JSON under `schema`; what was given before stays."""
        return decoded_under(self, schema)

    def show(self, messages: LanguageModelInput, **kwargs: Any) -> Shown:
        """Return the exact text and token ids that the model would be given, tools included."""
        return self.bound.show(messages, **{**self.kwargs, **kwargs})  # type: ignore[attr-defined]

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many tokens the model would be given for `messages`, and for the tools that were given."""
        return self.bound.get_num_tokens_from_messages(messages, tools or self.kwargs.get("tools"))  # type: ignore[attr-defined]
