"""A model asked in the language of what it is asked about: the project's own prompts are written in Korean and in English.

A prompt is Korean where any of the values that go into it holds Hangul, else English.
"""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable

from chains.llm_chain import LLMChain
from chains.prompt import Prompt
from chains.retrieval_chain import language_of


class Bilingual(LLMChain):
    """An LLMChain with a text for `ko` and one for `en`, of the same variables; `fixed` fills some of them for good."""

    def __init__(
        self,
        *,
        llm: Runnable[Any, Any],
        texts: Mapping[str, str],
        output_key: str,
        output_parser: Runnable[Any, Any] | None = None,
        fixed: Mapping[str, str] | None = None,
    ) -> None:
        self.prompts = {language: Prompt.chat(user=text).partial(**fixed or {}) for language, text in texts.items()}
        super().__init__(llm=llm, prompt=self.prompts["en"], output_key=output_key, output_parser=output_parser)

    def _template(self, inputs: Mapping[str, Any]) -> Prompt:
        asked = " ".join(str(inputs[name]) for name in self.input_keys if name in inputs)
        return self.prompts[language_of(asked)]
