"""Our library on a folder of files: our side of `tests/bench/index.py --langchain`."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from chains.models.embeddings import LocalEmbeddings
from retrieval import Library


class Indexing:
    """Makes a library of the files each time it is run, and then asks it; the model stays loaded."""

    def __init__(self, spec: dict[str, Any]) -> None:
        torch.set_num_threads(spec["threads"])
        self.spec = spec
        self.embeddings = LocalEmbeddings(spec["folder"], spec["dtype"])

    def warm(self) -> None:
        """Embed a text, and have the parts of a library imported."""
        self._indexed(Path(self.spec["warm"]))

    def run(self) -> dict[str, Any]:
        """Return the seconds of the sync, and the name of the document found first for each question."""
        return self._indexed(Path(self.spec["documents"]))

    def _indexed(self, documents: Path) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder, Library(Path(folder) / "library", self.embeddings) as library:
            wall, cpu = time.perf_counter(), time.process_time()
            library.sync(documents)
            took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            asked = self.spec["questions"]
            found = [library.search(question, k=self.spec["look"], mode="dense") for question in asked]
            return {
                **took,
                "passages": library.stats()["passages"],
                "found": [[passage.metadata["source"] for passage in one] for one in found],
            }


def load(spec: dict[str, Any]) -> Indexing:
    """Return the side of `spec`."""
    return Indexing(spec)
