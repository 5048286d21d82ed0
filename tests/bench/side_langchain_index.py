"""LangChain with langchain-chroma and sentence-transformers on a folder of files: the other side of `tests/bench/index.py --langchain`.

It runs in an environment of its own and imports nothing of ours. Its best setting that was found: texts cut by the model's own tokenizer, no
overlap, a batch size of 64 (sentence-transformers sorts by length), and all passages given to Chroma at once, in as large writes as it takes.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

_BATCH = 64


class Indexing:
    """Makes a Chroma folder of the files each time it is run, and then asks it; the model stays loaded."""

    def __init__(self, spec: dict[str, Any]) -> None:
        import torch
        from langchain_huggingface import HuggingFaceEmbeddings
        from langchain_text_splitters import RecursiveCharacterTextSplitter
        from transformers import AutoTokenizer

        torch.set_num_threads(spec["threads"])
        self.spec = spec
        encoding = {"batch_size": _BATCH, "normalize_embeddings": True}
        self.embeddings = HuggingFaceEmbeddings(
            model_name=spec["folder"],
            model_kwargs={"model_kwargs": {"dtype": spec["dtype"]}},
            encode_kwargs=encoding,
        )
        words = AutoTokenizer.from_pretrained(spec["folder"])
        self.splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
            words, chunk_size=spec["tokens"], chunk_overlap=0
        )

    def warm(self) -> None:
        """Embed a text, and have Chroma imported."""
        self._indexed(Path(self.spec["warm"]))

    def run(self) -> dict[str, Any]:
        """Return the seconds of the indexing, and the name of the document found first for each question."""
        return self._indexed(Path(self.spec["documents"]))

    def _indexed(self, documents: Path) -> dict[str, Any]:
        from langchain_chroma import Chroma
        from langchain_core.documents import Document

        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            wall, cpu = time.perf_counter(), time.process_time()
            files = sorted(documents.iterdir())
            texts = [Document(file.read_text(encoding="utf-8"), metadata={"source": file.name}) for file in files]
            passages = self.splitter.split_documents(texts)
            chroma = Chroma(
                "bench", self.embeddings, persist_directory=folder, collection_metadata={"hnsw:space": "cosine"}
            )
            chroma.add_documents(passages)
            took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            asked = self.spec["questions"]
            found = [chroma.similarity_search(question, k=self.spec["look"]) for question in asked]
            sources = [[passage.metadata["source"] for passage in one] for one in found]
            return {**took, "passages": len(passages), "found": sources}


def load(spec: dict[str, Any]) -> Indexing:
    """Return the side of `spec`."""
    return Indexing(spec)
