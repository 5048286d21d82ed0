"""A sync by several processes makes the same library as a sync by one, and only one of them writes."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chains.errors import MachineError, UsageError
from retrieval import Library, SyncReport
from tests.retrieval.fakes import Counting


class Deadly(Counting):
    """Ends the process that embeds with it."""

    def embed_documents(self, texts):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def folder(docs, pdf):
    for n in range(40):
        (docs / f"{n:02}.md").write_text(f"# Boat {n}\n\nBoat {n} is long.\n\n# Harbour {n}\n\nIt is wide.\n")
    (docs / "a.pdf").write_bytes(pdf("First page", "Second page"))
    (docs / "broken.pdf").write_bytes(b"no pdf")
    return docs


def content(library) -> list[tuple]:
    sql = (
        "SELECT source, start, end, heading, page, terms, embedded FROM passages JOIN sources ON sources.id = source_id"
    )
    return sorted(library._store.rows(sql), key=str)


def test_several_workers_make_the_same_library(tmp_path, folder, counting, where):
    with Library(tmp_path / "one", type(counting)()) as one, Library(tmp_path / "two", counting, chroma=where) as two:
        steps = []
        reports = one.sync(folder), two.sync(folder, workers=2, progress=lambda *step: steps.append(step))
        assert reports[0] == reports[1] == SyncReport(44, 0, 0, 0, reports[0].failed)
        assert [name for _, name in reports[1].failed] == ["broken.pdf is not a PDF, whatever its name says"]
        assert [done for done, _, _ in steps] == list(range(1, 46))
        assert counting.embedded == []  # the workers did it
        assert content(one) == content(two) and two.verify() == 0
        found = [[passage.text for passage in lib.search("Boat 17 is long.", k=1, mode="dense")] for lib in (one, two)]
        assert found == [["# Boat 17\n\nBoat 17 is long."]] * 2
        assert two.sync(folder, workers=2).unchanged == 44
        two.rebuild(workers=2)
        assert content(one) == content(two) and two.verify() == 0


def test_a_worker_that_dies_is_told_and_the_next_sync_finishes(tmp_path, docs, counting):
    ended = pytest.raises(MachineError, match="a worker of the sync was ended, perhaps for want of memory")
    with Library(tmp_path / "kb", Deadly()) as library, ended:
        library.sync(docs, workers=2)
    with Library(tmp_path / "kb", counting) as library:
        assert library.sync(docs).failed == [] and library.verify() == 0
        assert library.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


def test_no_worker_at_all_is_refused(library, docs):
    with pytest.raises(UsageError, match="workers is 0; give the number of processes that read and embed, 1 or more"):
        library.sync(docs, workers=0)


def test_two_threads_do_not_write_at_once(tmp_path, docs, counting):
    """The second one is refused, or comes after the first."""
    met = threading.Barrier(2)

    def sync(name: str) -> str:
        with Library(tmp_path / "kb", type(counting)()) as library:
            met.wait()
            try:
                return str(library.sync(docs).unchanged)
            except MachineError as error:
                return "refused" if "is being written by process" in str(error) else "otherwise"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(sync, "ab"))
    assert said in (["0", "refused"], ["0", "3"])
