"""A library as LangChain sees it: a BaseRetriever, for chains of ours and of others."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field


class LibraryRetriever(BaseRetriever):
    """Finds `k` passages of `library`. Asynchronous calls search in a thread."""

    library: Any
    k: int = 6
    mode: str = "hybrid"
    where: dict[str, Any] = Field(default_factory=dict)
    mmr: float | None = None
    parents: bool = False
    weights: dict[str, float] = Field(default_factory=dict)
    rerank: Any = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        names = ("mode", "where", "mmr", "parents", "weights", "rerank")
        options = {name: getattr(self, name) for name in names}
        found = self.library.search(query, k=k or self.k, **options)
        return [
            Document(
                passage.text,
                metadata={**passage.metadata, "score": passage.score, "scores": passage.scores, "why": passage.why},
            )
            for passage in found
        ]
