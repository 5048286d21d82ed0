"""Two Ray workers on this machine embed into a Chroma server."""

import os
from pathlib import Path

import numpy as np
import pytest

from chains.errors import MachineError, UsageError
from retrieval import Library
from tests.retrieval.fakes import Counting


class Telling(Counting):
    """Leaves a file named by the process that embeds, and fails where the folder says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        (self._folder / str(os.getpid())).touch()
        if (self._folder / "broken").exists():
            raise ValueError("no vectors today")
        return super().embed_documents(texts)


@pytest.fixture(scope="module")
def ray():
    """A cluster of this machine alone; on one that is there already nothing is started."""
    try:
        import ray
    except ImportError:
        pytest.skip('Ray is not installed; pip install "chaintune[ray]"')
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture
def telling(tmp_path):
    (tmp_path / "told").mkdir()
    return Telling(tmp_path / "told")


@pytest.fixture
def many(tmp_path):
    """Files of 2400 passages, of which some are the same, and one whose language the model does not know."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(24):
        parts = (f"# Part {n} {m}\n\nThe pool number {n * m} opens at {m}.\n\n" for m in range(100))
        (folder / f"{n}.md").write_text("".join(parts))
    (folder / "도서관.md").write_text("도서관은 월요일에 쉰다.", encoding="utf-8")
    return folder


def vectors(library):
    with library._vectors._collection() as collection:
        found = collection.get(include=["embeddings", "metadatas"])
    rows = zip(found["ids"], found["metadatas"], found["embeddings"], strict=True)
    named = {library._store.passage(int(id))[1:4]: (about, vector) for id, about, vector in rows}
    assert len(named) == len(found["ids"])
    return named


def test_two_workers_make_the_vectors_that_a_sync_makes(ray, tmp_path, many, telling, chroma):
    with Library(tmp_path / "here", Counting()) as here, Library(tmp_path / "there", telling, chroma=chroma) as there:
        report = here.sync(many)
        assert there.sync(many, ray=2) == report and report.added == 25
        expected, found = vectors(here), vectors(there)
        assert found.keys() == expected.keys() and len(found) == 2400
        for place, (about, vector) in expected.items():
            assert found[place][0] == about
            np.testing.assert_allclose(found[place][1], vector, atol=1e-6)
        processes = {file.name for file in (tmp_path / "told").iterdir()}
        assert len(processes) == 2 and str(os.getpid()) not in processes
        question = "The pool number 6 opens"
        assert [p.metadata for p in there.search(question)] == [p.metadata for p in here.search(question)]
        assert there.verify() == 0
        assert there.sync(many, ray=2).unchanged == 25


def test_what_failed_on_ray_is_finished_by_the_next_sync(ray, tmp_path, docs, telling, chroma):
    (tmp_path / "told" / "broken").touch()
    with Library(tmp_path / "library", telling, chroma=chroma) as library:
        with pytest.raises(MachineError, match=r"embedding on Ray failed .*no vectors today.*; sync again"):
            library.sync(docs, ray=2)
        (tmp_path / "told" / "broken").unlink()
        assert library.sync(docs).unchanged == 3
        assert library.search("the bus to the museum", k=1, mode="dense")[0].metadata["source"] == "sub/bus.txt"


def test_ray_without_a_server_is_refused(library, docs, where):
    if where is None:
        with pytest.raises(UsageError, match=r"Ray's workers write into a Chroma server.*--chroma"):
            library.sync(docs, ray=2)
    with pytest.raises(UsageError, match="ray is -1"):
        library.sync(docs, ray=-1)
