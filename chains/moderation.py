"""Whether a text may be shown, by a model that was named for it.

    Moderation(base_url="https://api.openai.com/v1", model="omni-moderation-latest").invoke(text)     # a moderation endpoint
    Moderation(load_model("starter"), rules="No medical advice.").invoke(text)                        # a chat model as the judge
    Moderation().invoke(text)                                            # status 'not configured', and flagged is None

`flagged` is True or False only where a model said so. The question to a chat model is Korean for a text with Hangul in it.
"""

import os
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from chains.bilingual import Bilingual
from chains.chain import Chain
from chains.choice import Unchosen, chosen, held_to
from chains.errors import MachineError, ModelError, UsageError
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.steps import Function

_SAFE, _UNSAFE = "SAFE", "UNSAFE"
_DEFAULT = {
    "en": "It is unsafe if it threatens, hates, sexualises, or helps to hurt someone or to break the law.",
    "ko": "협박, 혐오, 성적인 내용, 남을 해치거나 법을 어기도록 돕는 내용이면 안전하지 않습니다.",
}
_ASK = {
    "en": "Is the text between the lines safe to show? {rules}\n-----\n{text}\n-----\nReply with one word: SAFE or UNSAFE.",
    "ko": "선 사이의 글을 보여 줘도 안전한가요? {rules}\n-----\n{text}\n-----\n한 단어로만 답하세요: SAFE 또는 UNSAFE.",
}


class Moderation(Chain):
    """Takes `text`; makes `status`, `flagged` and `categories`.

    status is 'checked' (flagged is True or False), 'unclear' (the model's answer was neither; flagged is None) or 'not configured' (no
    model was named; flagged is None). `model` is a chat model or its name, or, with `base_url`, the endpoint's model; `api_key` is by
    default OPENAI_API_KEY. `rules` say to a chat model, in a sentence or two, what is unsafe. An endpoint's categories and scores come
    back as they are.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        rules: str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self.input_keys, self.output_keys = ("text",), ("status", "flagged", "categories")
        self._endpoint = self._asking = None
        if base_url is not None:
            if not isinstance(model, str) or rules is not None:
                raise UsageError(
                    "an endpoint takes its model's name and no rules: Moderation('omni-moderation-latest', base_url=...)"
                )
            self._endpoint = Function(Endpoint(model, base_url, api_key, timeout_s).check, by_name=False)
        elif model is not None:
            self._asking = _judging(model, rules)
        elif rules is not None or api_key is not None:
            raise UsageError(
                "no model is named to moderate; give a chat model or its name, or base_url and a model's name"
            )

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        texts = each(lambda given: _text(given["text"]), inputs)
        if self._endpoint is not None:
            return (yield Call(self._endpoint, texts, configs))
        if self._asking is None:
            return each(lambda _: _verdict("not configured", None), texts)
        said = yield Call(self._asking, each(lambda text: {"text": text}, texts), configs, kwargs)
        return each(lambda made: _read(made["said"]), said)

    def _main_key(self) -> str:
        return "status"


class Endpoint:
    """A server's /moderations, as OpenAI has it."""

    def __init__(self, model: str, base_url: str, api_key: str | None, timeout_s: float) -> None:
        self._model, self._base_url, self._timeout_s = model, base_url, timeout_s
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or "none"

    def check(self, text: str) -> dict[str, Any]:
        """Return the server's verdict. Raises MachineError where it cannot be reached, ModelError where it refuses."""
        import openai

        try:
            with openai.OpenAI(base_url=self._base_url, api_key=self._key, timeout=self._timeout_s) as client:
                (found,) = client.moderations.create(model=self._model, input=text).results
        except openai.APIConnectionError as error:
            raise MachineError(f"the moderation server {self._base_url} cannot be reached: {error}") from error
        except (openai.APIError, ValueError, TypeError) as error:
            raise ModelError(f"the moderation server {self._base_url} gave no verdict: {error}") from error
        if not isinstance(found.flagged, bool):
            return _verdict("unclear", None)
        scores = {name: score for name, score in (found.category_scores or {}) if score is not None}
        return _verdict("checked", found.flagged, {name: float(score) for name, score in scores.items()})


def _judging(model: Any, rules: str | None) -> Bilingual:
    if isinstance(model, str):
        from chains.models.load import load_model

        model = load_model(model, temperature=0)
    if not isinstance(model, Runnable):
        raise UsageError(f"model is a {type(model).__name__}; give a chat model or its name")
    llm = held_to(model, (_SAFE, _UNSAFE))
    if rules is not None:
        return Bilingual(llm=llm, texts=_ASK, output_key="said", fixed={"rules": rules})
    filled = {language: text.replace("{rules}", _DEFAULT[language]) for language, text in _ASK.items()}
    return Bilingual(llm=llm, texts=filled, output_key="said")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"text is a {type(value).__name__}; give the text that is to be checked")
    return value


def _read(said: Any) -> dict[str, Any]:
    try:
        return _verdict("checked", chosen(said, (_SAFE, _UNSAFE)) == _UNSAFE)
    except Unchosen:
        return _verdict("unclear", None)


def _verdict(status: str, flagged: bool | None, categories: Mapping[str, float] | None = None) -> dict[str, Any]:
    return {"status": status, "flagged": flagged, "categories": dict(categories or {})}
