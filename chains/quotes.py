"""A quote that the model itself copies: a local model is held to the passages' own words, so that it cannot quote what is not there.

The model reads the passages, the question and its answer, and is asked for the words that support it. What it may write is a run of whole
words of one passage, or nothing, which says that no passage supports the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import Runnable

from chains.citations import Citation, scored
from chains.llm_chain import LLMChain
from chains.passages import END, HEADING, PAGE, SOURCE, START
from chains.prompt import Prompt
from chains.tokens import inner

MAX_TOKENS = 96
"""The longest quote; what is cut off there is still the passage's own words."""
_COPY = {
    "ko": "위 발췌문에서 이 답의 근거가 되는 부분만 글자 그대로 옮겨 쓰세요. 근거가 없으면 아무것도 쓰지 마세요.",
    "en": "Copy from the passages, word for word, only the part that supports this answer. If there is none, write nothing.",
}
_ANSWER = {"ko": "답", "en": "Answer"}


def can_be_held(llm: Runnable[Any, Any]) -> bool:
    """Return whether the model decodes under a constraint."""
    from chains.models.local_chat import LocalChat

    return isinstance(inner(llm), LocalChat)


def quoting(llm: Runnable[Any, Any]) -> LLMChain:
    """Return the chain that copies a quote; `asked` makes its inputs and `held` its arguments."""
    prompt = Prompt.chat(user="{passages}\n\n{ask}: {question}\n{said}: {answer}\n\n{copy}")
    return LLMChain(llm=llm, prompt=prompt, output_key="quote")


def asked(question: str, answer: str, passages: str, ask: str, language: str) -> dict[str, str]:
    """Return the inputs of `quoting`. `passages` is their text as the model reads it, and `ask` the word for a question."""
    return {"passages": passages, "ask": ask, "question": question, "said": _ANSWER[language], "answer": answer,
            "copy": _COPY[language]}  # fmt: skip


def held(passages: Sequence[Document], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call's arguments under which nothing but the passages' words can be said, the likeliest ones."""
    from chains.models.constraint import Constraint

    own = {
        "constraint": Constraint.quote([p.page_content for p in passages]),
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }
    return {**{key: value for key, value in kwargs.items() if key != "stop"}, **own}


def cited(question: str, answer: str, quote: str, passages: Sequence[Document]) -> list[Citation]:
    """Return the quote with its places: one in every source that has these words; none where nothing was quoted."""
    text = quote.strip()
    return scored(question, answer, passages, _places(text, passages)) if text else []


def _places(text: str, passages: Sequence[Document]) -> Iterator[tuple[int, Citation]]:
    for rank, passage in enumerate(passages, 1):
        about, at = passage.metadata, passage.page_content.find(text)
        base = about.get(START, 0)
        if at < 0 or about.get(END, base + len(passage.page_content)) != base + len(passage.page_content):
            continue
        source, start = str(about.get(SOURCE) or f"passage {rank}"), base + at
        yield rank, Citation(source, start, start + len(text), text, about.get(PAGE), about.get(HEADING), 0.0)
