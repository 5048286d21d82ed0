"""A text of any length, summarised by a model whose context it may not fit.

    Summarize(llm).run(text)                      # whole where it fits, else in parts
    Summarize(llm, method="refine", about="what was decided").run(documents)

- `stuff`: one call with the whole text; refused where it does not fit.
- `map_reduce`: each part is summarised, all parts of all texts in one batch; then the summaries are summarised, again in parts where they
  do not fit, until one is left.
- `refine`: the parts are read one after another, and the summary so far is rewritten with each.
- `auto`: stuff where it fits, else map_reduce.

The prompts are Korean for a text with Hangul in it, else English.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Any, Literal

from langchain_core.documents import Document
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig

from chains.bilingual import Bilingual
from chains.chain import Chain
from chains.errors import ModelError, UsageError
from chains.llm_chain import checked_llm
from chains.plan import Call, Plan, each
from chains.runs.record import OpenRun
from chains.samples import settings_of
from chains.tokens import Count, context_of, counting, inner, packed, parts

Method = Literal["auto", "stuff", "map_reduce", "refine"]
_METHODS = ("auto", "stuff", "map_reduce", "refine")
_WHOLE = {
    "en": "Summarise the text in a few sentences. {about}Write the summary alone.\n\nText:\n{text}",
    "ko": "글을 몇 문장으로 요약하세요. {about}요약만 쓰세요.\n\n글:\n{text}",
}
_JOIN = {
    "en": "These are summaries of the parts of one text, in order. Make one short summary of them. {about}Write the summary alone.\n\n{text}",
    "ko": "한 글의 부분들을 차례로 요약한 것입니다. 하나의 짧은 요약으로 합치세요. {about}요약만 쓰세요.\n\n{text}",
}
_REFINE = {
    "en": "Summary so far:\n{sofar}\n\nThe text goes on:\n{text}\n\nRewrite the summary so that it covers both, in a few sentences. "
    "{about}Write the summary alone.",
    "ko": "지금까지의 요약:\n{sofar}\n\n이어지는 글:\n{text}\n\n둘을 모두 담아 요약을 몇 문장으로 다시 쓰세요. {about}요약만 쓰세요.",
}
_JOINTS = 8  # tokens kept for blank lines between parts, and for what two texts cost more together than apart


class Summarize(Chain):
    """Takes `text` (a text, a Document, or a list of either) and makes `summary`.

    `about` says what matters, in a sentence. `max_tokens` is the room for each summary, by default the model's own or a quarter of its
    context. `context` and `count` are the model's own where it runs here (see chains/tokens.py).
    """

    def __init__(
        self,
        llm: Runnable[Any, Any],
        method: Method = "auto",
        *,
        about: str = "",
        max_tokens: int | None = None,
        context: int | None = None,
        count: Count | None = None,
    ) -> None:
        if method not in _METHODS:
            raise UsageError(f"method {method!r} is unknown; use {', '.join(_METHODS)}")
        self.llm = checked_llm(llm)
        self.method, self._context, self._count, self._max_tokens = method, context, count, max_tokens
        self.input_keys, self.output_keys = ("text",), ("summary",)
        fixed = {"about": f"{about.strip()} " if about.strip() else ""}
        self._of_whole, self._of_summaries, self._of_both = (
            Bilingual(llm=llm, texts=texts, output_key="summary", fixed=fixed) for texts in (_WHOLE, _JOIN, _REFINE)
        )

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        sizes = Sizes(self, kwargs)
        cut = each(lambda given: self._parts(given["text"], sizes), inputs)
        if self.method == "refine":
            return (yield from self._refined(cut, configs, sizes))
        level, chain = cut, self._of_whole
        while True:
            made = yield from self._each_part(chain, level, configs, sizes)
            if all(isinstance(one, Exception) or len(one) == 1 for one in made):
                return each(lambda one: {"summary": one[0]}, made)
            level, chain = each(lambda now: _joined(now, sizes), made), self._of_summaries

    def _each_part(
        self, chain: Chain, texts: list[Any], configs: list[RunnableConfig], sizes: "Sizes"
    ) -> Generator[Call, list[Any], list[Any]]:
        """Return for each list of parts the list of their summaries, from one call for all; a finished one stays as it is."""
        flat = [(place, part) for place, some in enumerate(texts) if isinstance(some, list) for part in some]
        todo = [i for i, (_, part) in enumerate(flat) if not isinstance(part, Finished)]
        below: list[Any] = [{**configs[flat[i][0]], "run_name": "part"} for i in todo]
        said = yield Call(chain, [{"text": flat[i][1]} for i in todo], below, sizes.settings, shown=True)
        summaries: list[Any] = [part for _, part in flat]
        for i, made in zip(todo, said, strict=True):
            summaries[i] = made if isinstance(made, Exception) else str(made["summary"]).strip()
        return [
            _gathered(some, [s for (at, _), s in zip(flat, summaries, strict=True) if at == place])
            for place, some in enumerate(texts)
        ]

    def _refined(self, cut: list[Any], configs: list[RunnableConfig], sizes: "Sizes") -> Plan:
        most = max((len(some) for some in cut if isinstance(some, list)), default=0)
        sofar: list[Any] = [some if isinstance(some, Exception) else "" for some in cut]
        for number in range(max(most, 1)):
            going = [
                i
                for i, some in enumerate(cut)
                if isinstance(some, list) and number < len(some) and isinstance(sofar[i], str)
            ]
            inputs = [{"text": cut[i][number], **({"sofar": sofar[i]} if number else {})} for i in going]
            below: list[Any] = [{**configs[i], "run_name": f"part {number + 1}"} for i in going]
            last = number == most - 1
            said = yield Call(self._of_both if number else self._of_whole, inputs, below, sizes.settings, shown=last)
            for i, made in zip(going, said, strict=True):
                sofar[i] = made if isinstance(made, Exception) else sizes.cut(str(made["summary"]).strip())
        return each(lambda summary: {"summary": summary}, sofar)

    def _parts(self, text: Any, sizes: "Sizes") -> list[str]:
        whole = "\n\n".join(_texts(text))
        if not whole.strip():
            raise UsageError("the text is empty; there is nothing to summarise")
        length = sizes.count(whole)
        if self.method in ("auto", "stuff") and length <= sizes.part:
            return [whole]
        if self.method == "stuff":
            raise UsageError(
                f"the text is {length} tokens long and the model has room for {sizes.part}; use method='map_reduce' or 'refine'"
            )
        return parts(whole, sizes.refine if self.method == "refine" else sizes.part, sizes.count)

    def _piece(self, piece: Any) -> dict[str, Any]:
        return {"summary": piece["summary"]} if "summary" in piece else {}


class Finished(str):
    """A summary that waits for the others."""

    __slots__ = ()


class Sizes:
    """How many tokens there are for what: the context less the answer and the prompt's own words."""

    def __init__(self, chain: Summarize, kwargs: Mapping[str, Any]) -> None:
        self.count = chain._count or counting(chain.llm)
        context = chain._context or context_of(chain.llm)
        own = {**settings_of(chain.llm), **kwargs}.get("max_tokens")
        self.summary = chain._max_tokens or min(own or context, context // 4)
        self.settings = {**kwargs, **({"max_tokens": self.summary} if own is not None or chain._max_tokens else {})}
        free = context - self.summary
        self.part = free - self._overhead(chain.llm, chain._of_whole)
        self.join = free - self._overhead(chain.llm, chain._of_summaries)
        self.refine = free - self._overhead(chain.llm, chain._of_both) - self.summary
        if self.part < 1 or self.refine < 1 or self.join < 2 * self.summary + _JOINTS:
            raise UsageError(
                f"a context of {context} tokens has no room for the prompt and two summaries of {self.summary} tokens; "
                "give a smaller max_tokens, or a model with a longer context"
            )

    def cut(self, summary: str) -> str:
        """Return as much of a summary as has room in the next prompt."""
        return next(iter(parts(summary, self.summary, self.count)), "")

    def _overhead(self, llm: Any, chain: Bilingual) -> int:
        """Return the tokens of the longer of the prompt's two forms, with no text in it."""
        empty = [prompt.format_prompt(**dict.fromkeys(prompt.input_variables, "")) for prompt in chain.prompts.values()]
        return _JOINTS + max(self._tokens(llm, value) for value in empty)

    def _tokens(self, llm: Any, value: PromptValue) -> int:
        if getattr(getattr(inner(llm), "engine", None), "context", None):
            return int(inner(llm).get_num_tokens_from_messages(value.to_messages()))
        return self.count(value.to_string())


def _joined(summaries: list[str], sizes: Sizes) -> list[str]:
    """Return the summaries as the parts of the next round: as many together as fit. One alone is finished."""
    if len(summaries) == 1:
        return [Finished(summaries[0])]
    kept = [short for short in map(sizes.cut, summaries) if short]
    if not kept:
        raise ModelError("the model gave an empty summary of every part")
    joined = list(packed(iter(kept), sizes.join, sizes.count))
    if len(joined) > 1 and len(joined) == len(summaries):
        raise ModelError("no two summaries fit into one prompt; give a smaller max_tokens")
    return joined


def _texts(text: Any) -> Iterable[str]:
    some = text if isinstance(text, list | tuple) else [text]
    for one in some:
        if not isinstance(one, str | Document):
            raise UsageError(f"text is a {type(one).__name__}; give a text, a Document, or a list of either")
        yield one.page_content if isinstance(one, Document) else one


def _gathered(before: Any, summaries: list[Any]) -> Any:
    if isinstance(before, Exception):
        return before
    return next((one for one in summaries if isinstance(one, Exception)), summaries)
