"""A parser that lets the model mend an answer that cannot be parsed.

    LLMChain(llm=llm, prompt=p, output_parser=RetryParser(JsonOutputParser(), llm))

The model is shown its answer, what was wrong with it, and the form that the parser wants; in Korean where the answer is, else in English.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list

from chains.bilingual import Bilingual
from chains.errors import ChaintuneError, ModelError, UsageError
from chains.llm_chain import checked_llm
from chains.model_call import text_of
from chains.plan import Call, Plan, adrive, drive

_MEND = {
    "en": "This answer cannot be used:\n{answer}\n\nWhy: {error}\n\n{form}Write the answer again so that it can. Write the answer alone.",
    "ko": "이 답은 쓸 수 없습니다:\n{answer}\n\n이유: {error}\n\n{form}쓸 수 있게 답을 다시 쓰세요. 답만 쓰세요.",
}
_KEY = "answer again"


class RetryParser(Runnable[Any, Any]):
    """`parser`, and where it fails up to `tries` further answers of `llm`, each a run of its own; those of a batch are asked together.

    Raises ModelError with the last error where none can be parsed.
    """

    def __init__(self, parser: Runnable[Any, Any], llm: Runnable[Any, Any], tries: int = 2) -> None:
        if tries < 1:
            raise UsageError(f"tries={tries} cannot be used; give at least 1")
        if not isinstance(parser, Runnable):
            raise UsageError(f"parser is a {type(parser).__name__}; give a langchain_core output parser")
        self.parser, self.tries = parser, tries
        self._mending = Bilingual(llm=checked_llm(llm), texts=_MEND, output_key=_KEY)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return self.batch([input], [config] if config else None)[0]

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return (await self.abatch([input], [config] if config else None))[0]

    def batch(
        self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Any]:
        """Return what each answer says, or an exception for it."""
        return _raised(drive(self._plan(inputs, get_config_list(config, len(inputs)))), return_exceptions)

    async def abatch(
        self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Any]:
        """Return what batch returns, awaiting."""
        return _raised(await adrive(self._plan(inputs, get_config_list(config, len(inputs)))), return_exceptions)

    def _plan(self, answers: Sequence[Any], configs: Sequence[RunnableConfig]) -> Plan:
        parsed = yield Call(self.parser, answers, configs)
        results = [_nothing_is_an_error(value) for value in parsed]
        answers = list(answers)
        for _ in range(self.tries):
            bad = [place for place, value in enumerate(results) if _unreadable(value)]
            if not bad:
                break
            below: list[RunnableConfig] = [{**configs[place], "run_name": "mend"} for place in bad]
            made = yield Call(self._mending, [self._told(answers[i], results[i]) for i in bad], below)
            again = [one if isinstance(one, Exception) else one[_KEY] for one in made]
            parsed = yield Call(self.parser, again, below)
            for place, answer, value in zip(bad, again, parsed, strict=True):
                answers[place], results[place] = answer, _nothing_is_an_error(value)
        return [self._given_up(value) if _unreadable(value) else value for value in results]

    def _told(self, answer: Any, error: Exception) -> dict[str, str]:
        return {"answer": str(text_of(answer)), "error": _why(error), "form": self._form()}

    def _form(self) -> str:
        """Return the parser's own account of the form that it wants, where it has one."""
        try:
            return f"{self.parser.get_format_instructions()}\n\n"  # type: ignore[attr-defined]
        except (AttributeError, NotImplementedError):
            return ""

    def _given_up(self, error: Exception) -> ModelError:
        failed = ModelError(f"the answer could not be parsed after {self.tries} more tries: {_why(error)}")
        failed.__cause__ = error
        return failed


def _unreadable(value: Any) -> bool:
    """Say whether `value` is a parser's error, which the model can mend; other errors are not the answer's."""
    return isinstance(value, ValueError) and not isinstance(value, ChaintuneError)


def _nothing_is_an_error(value: Any) -> Any:
    """Return `value`; of None, which langchain_core's JSON parser makes of a text without JSON, an error."""
    return OutputParserException("there is nothing in it to read") if value is None else value


def _why(error: Exception) -> str:
    """Return what was wrong, without langchain_core's link to its troubleshooting page."""
    return str(error).split("\nFor troubleshooting")[0].strip()


def _raised(results: list[Any], return_exceptions: bool) -> list[Any]:
    failed = None if return_exceptions else next((one for one in results if isinstance(one, Exception)), None)
    if failed is not None:
        raise failed
    return results
