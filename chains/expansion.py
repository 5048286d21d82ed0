"""A question looked for in several words: a model writes them, a retriever finds passages for each, and the rankings are fused.

    MultiQuery(llm=llm, retriever=library.as_retriever()).invoke("How long is half-time?")["passages"]
    RetrievalChain(llm=llm, retriever=HyDE(llm=llm, retriever=library.as_retriever()))

- `MultiQuery` asks for the question in other words (RAG-Fusion, arXiv 2402.03367, which fuses by reciprocal ranks as here).
- `HyDE` asks for a passage that would answer it (arXiv 2212.10496). What it says may be wrong: it only has to be like the right passage.
  There the vectors of question and passage are averaged; here each is looked for, by meaning and by words, and their ranks are fused.

The question itself is always looked for, too. Any retriever and any model will do; the prompts are Korean for a question with Hangul.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import Runnable, RunnableConfig

from chains.bilingual import Bilingual
from chains.chain import Chain
from chains.errors import UsageError
from chains.fusion import fused
from chains.passages import END, SOURCE, START
from chains.plan import Call, Plan, each
from chains.retrieval_chain import as_passages
from chains.runs.record import OpenRun

_REWORD = {
    "en": "Write {n} different search queries that would find the answer to the question, each on a line of its own, in the question's "
    "language. Write the queries alone.\n\nQuestion: {question}",
    "ko": "다음 질문의 답을 찾을 수 있는 서로 다른 검색어를 {n}개, 한 줄에 하나씩 쓰세요. 검색어만 쓰세요.\n\n질문: {question}",
}
_IMAGINE = {
    "en": "Write a short passage, as it might stand in a document, that answers the question. Write the passage alone.\n\nQuestion: {question}",
    "ko": "다음 질문의 답이 담긴 짧은 글을 문서에 실릴 법하게 쓰세요. 글만 쓰세요.\n\n질문: {question}",
}
_MARK = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")  # how models number the lines of a list


class Expansion(Chain):
    """Takes `question`; makes `queries` (all that was looked for, the question first) and `passages`.

    Those are at most `k`; None means as many as were found for the query that has most.
    """

    texts: Mapping[str, str]

    def __init__(self, *, llm: Runnable[Any, Any], retriever: Runnable[Any, Any], n: int, k: int | None) -> None:
        if n < 1:
            raise UsageError(f"n is {n}; give how many texts the model is to write, 1 or more")
        if k is not None and k < 1:
            raise UsageError(f"k is {k}; give the number of passages that are wanted, 1 or more")
        self.n, self.k, self.retriever = n, k, retriever
        self._writing = Bilingual(llm=llm, texts=self.texts, output_key="written")
        self.input_keys, self.output_keys = ("question",), ("queries", "passages")

    def _calls(self) -> int:
        """Return how often the model is asked about one question."""
        raise NotImplementedError

    def _written(self, texts: list[str]) -> list[str]:
        """Return what is looked for, from what the model wrote."""
        raise NotImplementedError

    def _plan(
        self, inputs: list[Any], configs: list[RunnableConfig], runs: list[OpenRun], kwargs: Mapping[str, Any]
    ) -> Plan:
        count = self._calls()
        asked = [given if isinstance(given, Exception) else {**given, "n": str(self.n)} for given in inputs]
        several = [one for one in asked for _ in range(count)]
        below = [config for config in configs for _ in range(count)]
        said = yield Call(self._writing, several, below, kwargs)
        texts = each(lambda *row: [made["written"] for made in row], *(said[place::count] for place in range(count)))
        queries = each(self._queries, inputs, texts)
        flat = [(place, query) for place, some in enumerate(queries) if isinstance(some, list) for query in some]
        found = yield Call(self.retriever, [query for _, query in flat], [configs[place] for place, _ in flat])
        rankings = [
            some
            if isinstance(some, Exception)
            else [one for (at, _), one in zip(flat, found, strict=True) if at == place]
            for place, some in enumerate(queries)
        ]
        return each(partial(_together, k=self.k), queries, rankings)

    def _queries(self, given: Mapping[str, Any], texts: list[str]) -> list[str]:
        return list(dict.fromkeys([given["question"], *filter(None, map(str.strip, self._written(texts)))]))

    def _main_key(self) -> str:
        return "passages"


class MultiQuery(Expansion):
    """The question in `n` other ways, written by the model in one answer, a line each."""

    texts = _REWORD

    def __init__(
        self, *, llm: Runnable[Any, Any], retriever: Runnable[Any, Any], n: int = 3, k: int | None = None
    ) -> None:
        super().__init__(llm=llm, retriever=retriever, n=n, k=k)

    def _calls(self) -> int:
        return 1

    def _written(self, texts: list[str]) -> list[str]:
        lines = [_MARK.sub("", line).strip() for text in texts for line in text.splitlines()]
        return list(filter(None, lines))[: self.n]


class HyDE(Expansion):
    """`n` passages that might answer the question, each an answer of its own."""

    texts = _IMAGINE

    def __init__(
        self, *, llm: Runnable[Any, Any], retriever: Runnable[Any, Any], n: int = 1, k: int | None = None
    ) -> None:
        super().__init__(llm=llm, retriever=retriever, n=n, k=k)

    def _calls(self) -> int:
        return self.n

    def _written(self, texts: list[str]) -> list[str]:
        return texts


def _together(queries: list[str], rankings: list[Any], k: int | None) -> dict[str, Any]:
    """Return the queries and the passages that were found for them, fused. Raises what a retriever raised."""
    failed = next((ranking for ranking in rankings if isinstance(ranking, Exception)), None)
    if failed is not None:
        raise failed
    found = [as_passages(ranking) for ranking in rankings]
    ranks = [{_place(passage): rank for rank, passage in enumerate(ranking, 1)} for ranking in found]
    first: dict[Any, Document] = {}
    for passage in (passage for ranking in found for passage in ranking):
        first.setdefault(_place(passage), passage)
    best = list(fused(ranks).items())[: k or max(map(len, found))]
    return {"queries": queries, "passages": [_scored(first[place], score, place, ranks) for place, score in best]}


def _scored(passage: Document, score: float, place: Any, ranks: list[dict[Any, int]]) -> Document:
    why = ", ".join(_ranks(place, ranks))
    return Document(passage.page_content, metadata={**passage.metadata, "score": score, "why": why})


def _ranks(place: Any, ranks: list[dict[Any, int]]) -> Iterator[str]:
    for number, ranking in enumerate(ranks, 1):
        yield f"query {number}: {ranking.get(place, '–')}"


def _place(passage: Document) -> Any:
    """Return what a passage is known by: its place in its source, or its text where it has none."""
    about = passage.metadata
    return (about[SOURCE], about[START], about.get(END)) if SOURCE in about and START in about else passage.page_content
