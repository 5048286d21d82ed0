"""LangChain's own tests of vector stores and retrievers hold for a library, and texts live beside documents."""

from collections.abc import Generator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from chains.errors import UsageError
from retrieval import Library
from retrieval.retriever import LibraryRetriever
from retrieval.vectorstore import LibraryVectorStore


class TestAsAVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path, where) -> Generator[VectorStore, None, None]:  # type: ignore[override]
        with Library(tmp_path / "kb", self.get_embeddings(), chroma=where) as library:
            yield library.vectorstore


class TestAsARetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _library(self, tmp_path, docs, counting):
        with Library(tmp_path / "kb", counting) as self.library:
            self.library.sync(docs)
            yield

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LibraryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"library": self.library}

    @property
    def retriever_query_example(self) -> str:
        return "the pool, the sauna and the bus"


def test_texts_and_documents_are_found_together_and_a_sync_leaves_the_texts(library, docs):
    library.sync(docs)
    store = library.vectorstore
    assert store.add_texts(["A lion has a mane."], [{"zoo": 1}], ids=["lion"]) == ["lion"]
    assert store.similarity_search("a lion has a mane", k=1) == [
        Document("A lion has a mane.", metadata={"zoo": 1}, id="lion")
    ]
    ((bus, cosine),) = store.similarity_search_with_score("The bus to the museum leaves every ten minutes.", k=1)
    assert bus.metadata == {"source": "sub/bus.txt", "start": 0, "end": 47} and cosine == pytest.approx(1, abs=1e-3)
    assert library.search("lion", k=1)[0].metadata["source"] == "lion"
    assert library.sync(docs).deleted == 0 and library.verify() == 0
    library.rebuild()
    assert store.get_by_ids(["lion", "tiger"]) == [Document("A lion has a mane.", metadata={"zoo": 1}, id="lion")]
    store.delete()
    assert [source.source for source in library.sources()] == ["pool.md", "sub/bus.txt", "도서관.md"]


def test_a_store_is_made_of_texts_in_a_folder(tmp_path, counting):
    store = LibraryVectorStore.from_texts(["A lion.", "A bus."], counting, ids=["1", "2"], path=str(tmp_path / "kb"))
    assert [document.id for document in store.similarity_search("bus", k=1)] == ["2"]


def test_what_cannot_be_kept_is_refused(library, docs):
    library.sync(docs)
    store = library.vectorstore
    with pytest.raises(UsageError, match=r"the id 'pool.md' is the name of a document that was synced"):
        store.add_texts(["x"], ids=["pool.md"])
    with pytest.raises(UsageError, match=r"the metadata .* cannot be kept"):
        store.add_texts(["x"], [{"a": object()}])
    with pytest.raises(UsageError, match="2 texts came with 1 ids and 2 metadatas"):
        store.add_texts(["x", "y"], ids=["1"])
