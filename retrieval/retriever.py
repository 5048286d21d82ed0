"""A library as LangChain sees it: a BaseRetriever, for chains of ours and of others."""

from dataclasses import replace
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, InstanceOf

from retrieval.search import Wanted


class LibraryRetriever(BaseRetriever):
    """Finds what is `wanted` in `library`; `k`, where it is given, is the number of passages. Asynchronous calls search in a thread."""

    library: Any
    wanted: InstanceOf[Wanted] = Field(default_factory=Wanted)
    k: int | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = self.library.find(query, replace(self.wanted, k=k or self.k or self.wanted.k))
        return [
            Document(
                passage.text,
                metadata={**passage.metadata, "score": passage.score, "scores": passage.scores, "why": passage.why},
            )
            for passage in found
        ]
