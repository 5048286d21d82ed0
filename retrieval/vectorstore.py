"""A library as LangChain's VectorStore: texts with ids and metadata of their own go in, beside the documents that were synced.

    library.vectorstore.add_texts(["The pool opens at nine."], [{"room": "pool"}], ids=["pool"])
    library.vectorstore.similarity_search("When does the pool open?", k=1)

A text is one passage, as long as it is; searches by meaning look among all passages, and `Library.search` finds the texts, too.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from chains.errors import UsageError


class LibraryVectorStore(VectorStore):
    """The texts of `library`, which stays open as long as this is used."""

    def __init__(self, library: Any) -> None:
        self._library = library

    @property
    def embeddings(self) -> Embeddings:
        """The library's embedding model."""
        model: Embeddings = self._library.model
        return model

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts, in place of those with the same ids, and return their ids; one that has none is given one."""
        several = list(texts)
        names = [given or uuid.uuid4().hex for given in ids or [None] * len(several)]
        about = metadatas or [{}] * len(several)
        if not len(several) == len(names) == len(about):
            raise UsageError(
                f"{len(several)} texts came with {len(names)} ids and {len(about)} metadatas; give one of each for every text"
            )
        self._library.put_texts(
            {name: (text, _as_json(more)) for name, text, more in zip(names, several, about, strict=True)}
        )
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Take texts out, all of them where no ids are given; an id that is not there is passed over."""
        self._library.remove_texts(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the texts with these ids, in this order, without those that are not there."""
        found = {name: (text, about) for name, text, about in self._library.texts(ids)}
        return [Document(found[id][0], metadata=json.loads(found[id][1]), id=id) for id in ids if id in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` passages nearest in meaning."""
        return [document for document, _ in self.similarity_search_with_score(query, k)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the `k` passages nearest in meaning, each with its cosine."""
        return self.similarity_search_by_vector_with_score(self.embeddings.embed_query(query), k)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` passages nearest to a vector of the library's model."""
        return [document for document, _ in self.similarity_search_by_vector_with_score(embedding, k)]

    def similarity_search_by_vector_with_score(
        self, embedding: list[float], k: int = 4
    ) -> list[tuple[Document, float]]:
        """Return the `k` passages nearest to a vector, each with its cosine."""
        return [
            (
                Document(text, metadata=json.loads(about) if about else place, id=place["source"] if about else None),
                cosine,
            )
            for text, place, about, cosine in self._library.nearest(embedding, k)
        ]

    def _select_relevance_score_fn(self) -> Any:
        return lambda cosine: max(0.0, cosine)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict] | None = None,
        *,
        ids: list[str] | None = None,
        path: str = "",
        **kwargs: Any,
    ) -> "LibraryVectorStore":
        """Return the store of the library in the folder `path`, with these texts in it."""
        from retrieval.library import Library

        if not path:
            raise UsageError("no folder was named for the library; give it as path=")
        store = cls(Library(path, embedding))
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _as_json(metadata: dict[str, Any]) -> str:
    try:
        return json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the metadata {metadata!r:.100} cannot be kept: {error}; give texts, numbers, lists and objects"
        ) from error
