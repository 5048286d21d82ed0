"""A library under a killed writer, a second writer, a reader in another process, and lost files."""

import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import apsw
import pytest

from chains.errors import MachineError, UsageError
from retrieval import Library

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, time
from retrieval import Library
from tests.retrieval.fakes import Counting

class Slow(Counting):
    def embed_documents(self, texts):
        time.sleep(0.02)
        return super().embed_documents(texts)

with Library(sys.argv[1], Slow(), chroma=sys.argv[3] or None) as library:
    print("ready", flush=True)
    library.sync(sys.argv[2], progress=lambda *step: print(*step, flush=True))
    print("done", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def many(tmp_path):
    """A hundred and fifty documents of three passages."""
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(150):
        (folder / f"{n:03}.md").write_text(
            "".join(f"# Part {part}\n\nDocument d{n}p{part} about boat{n}.\n\n" for part in range(3))
            + f"filler{n} " * 250
        )
    return folder


def start(tmp_path, documents, where=None, code=WRITER) -> subprocess.Popen:
    command = [sys.executable, "-c", code, str(tmp_path / "library"), str(documents), where or ""]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def lines(process: subprocess.Popen, count: int) -> None:
    for _ in range(count):
        assert process.stdout.readline()


def passages(library) -> set[tuple]:
    return set(library._store.rows("SELECT source, start, end FROM passages JOIN sources ON sources.id = source_id"))


def vectors(library) -> set[int]:
    return library._vectors.ids()


def rewrite(folder: Path, draw: random.Random) -> None:
    """Change a third of the documents, each in one of its passages, and take one away or bring it back."""
    for path in draw.sample(sorted(folder.iterdir()), 50):
        text = path.read_text()
        path.write_text(re.sub(r"(p1 about boat\d+)( x\d+)?\.", rf"\1 x{draw.randrange(10**9)}.", text))
    last = folder / "149.md"
    last.unlink() if last.exists() else last.write_text("# Part 1\n\nDocument d149p1 about boat149.")


def explained(library) -> bool:
    """Whether what is done has its vector, and every vector is of a passage or is known to be left over."""
    done = {id for (id,) in library._store.rows("SELECT id FROM passages WHERE embedded AND pending < 2")}
    known = {id for (id,) in library._store.rows("SELECT id FROM passages UNION SELECT id FROM doomed")}
    return done <= vectors(library) <= known


def test_a_killed_sync_loses_nothing_doubles_nothing_and_is_finished_by_the_next(tmp_path, many, counting, where):
    """CHAINTUNE_KILLS is at how many random points a writer is killed."""
    draw = random.Random(7)
    with Library(tmp_path / "library", counting, chroma=where) as library:
        library.sync(many)
    for _ in range(int(os.environ.get("CHAINTUNE_KILLS", 3))):
        rewrite(many, draw)
        writer = start(tmp_path, many, where)
        lines(writer, 1 + draw.randrange(150))
        time.sleep(draw.random() * 0.1)
        writer.kill()
        writer.wait()
        with Library(tmp_path / "library", counting) as library:
            assert library.search("Document d17p1 about boat17", k=3)  # usable before it is mended
            assert explained(library)
    with Library(tmp_path / "fresh", type(counting)()) as fresh:
        fresh.sync(many)
        expected, everything = passages(fresh), fresh.stats()
    counting.embedded.clear()
    with Library(tmp_path / "library", counting) as library:
        report = library.sync(many)
        assert (report.added, report.failed) == (0, [])
        assert library.stats() == everything
        assert passages(library) == expected
        assert (
            len(counting.embedded) < 150
        )  # what is as it was, and what the killed ones had finished, is not embedded again
        assert vectors(library) == {id for (id,) in library._store.rows("SELECT id FROM passages")}
        assert library.verify() == 0
        for n in draw.sample(range(1, 149), 20):
            for mode in ("keyword", "dense"):
                found = library.search(f"Part 1 Document d{n}p1 about boat{n}.", k=40, mode=mode)
                assert f"{n:03}.md" in {passage.metadata["source"] for passage in found}


def test_a_second_writer_is_refused_with_the_owners_process_id(tmp_path, many, counting, where):
    writer = start(tmp_path, many, where)
    try:
        lines(writer, 20)
        with Library(tmp_path / "library", counting, chroma=where) as library:
            with pytest.raises(
                MachineError, match=rf"is being written by process {writer.pid}; wait until it is done, or end it"
            ):
                library.sync(many)
            with pytest.raises(MachineError, match=f"process {writer.pid}"):
                library.delete("000.md")
    finally:
        writer.kill()
        writer.wait()
    with Library(tmp_path / "library", counting) as library:
        library.sync(many)  # the lock ended with its owner


def test_a_reader_sees_what_another_process_writes(tmp_path, many, counting, where):
    few = tmp_path / "few"
    few.mkdir()
    (few / "zebra.txt").write_text("A zebra has stripes.")
    with Library(tmp_path / "library", counting, chroma=where) as library:
        library.sync(few)
        assert [p.metadata["source"] for p in library.search("document about boat7", mode="dense")] == ["zebra.txt"]
        writer = start(tmp_path, many, where)
        lines(writer, 100)
        while_writing = library.search("A zebra has stripes.", k=1)
        assert while_writing[0].metadata["source"] == "zebra.txt"
        lines(writer, 52)
        for mode in ("hybrid", "dense", "keyword"):
            found = library.search("# Part 1 Document d149p1 about boat149.", k=20, mode=mode)
            assert "149.md" in {passage.metadata["source"] for passage in found}
        writer.stdin.close()
        assert writer.wait() == 0
        assert library.sync(few).unchanged == 1
        assert library.verify() == 0
        (few / "lion.txt").write_text("A lion has a mane.")
        library.sync(few)  # written by a client that was opened before the other process wrote
        assert vectors(library) == {id for (id,) in library._store.rows("SELECT id FROM passages")}
        assert library.search("A lion has a mane.", k=1, mode="dense")[0].metadata["source"] == "lion.txt"
        assert "120.md" in {
            p.metadata["source"] for p in library.search("Part 1 Document d120p1 about boat120.", k=40, mode="dense")
        }


def test_a_client_opened_before_another_process_wrote_does_not_write_over_it(tmp_path, many, counting):
    few = tmp_path / "few"
    few.mkdir()
    (few / "zebra.txt").write_text("A zebra has stripes.")
    with Library(tmp_path / "library", counting) as library:
        library.sync(few)
        writer = start(tmp_path, many)
        lines(writer, 152)
        writer.stdin.close()
        assert writer.wait() == 0
        (few / "table.csv").write_text(
            "name\n" + "".join(f"row{n}\n" for n in range(1200))
        )  # Chroma saves after 1,000 vectors
        library.sync(few)
    with Library(tmp_path / "library", counting) as library:
        for n in range(0, 150, 3):
            question = f"# Part 1 Document d{n}p1 about boat{n}."
            (passage, *_) = library.search(question, k=1, mode="dense", where={"source": f"{n:03}.md"})
            assert passage.text.startswith("# Part 1")


def test_lost_vectors_and_index_are_made_again(library, docs, counting):
    library.sync(docs)
    lose_vectors(library)
    library.close()
    shutil.rmtree(library.path / "keywords")
    with Library(library.path, counting) as again:
        (passage, *_) = again.search("the bus to the museum")
        assert passage.metadata["source"] == "sub/bus.txt" and "dense left out: its vectors are gone" in passage.why
        counting.embedded.clear()
        again.sync(docs)
        assert len(counting.embedded) == 3
        assert again.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


def lose_vectors(library) -> None:
    if isinstance(library._vectors.place, Path):
        library._vectors.close()
        shutil.rmtree(library._vectors.place)
    else:
        library._vectors.drop()


def test_verify_finds_and_mends_what_is_missing_and_left_over(library, docs):
    library.sync(docs)
    first = min(vectors(library))
    library._vectors.delete([first])
    library._vectors.add([999], [[0.1] * 64], [{"source": "x"}])
    assert library.verify() == 2
    assert first in vectors(library) and 999 not in vectors(library)
    assert library.verify() == 0


def test_a_database_that_is_none_is_named(tmp_path, counting):
    Library(tmp_path / "kb", counting).close()
    (tmp_path / "kb" / "passages.db").write_bytes(b"this is no database" * 100)
    for extra in ("-wal", "-shm"):
        (tmp_path / "kb" / f"passages.db{extra}").unlink(missing_ok=True)
    with pytest.raises(
        MachineError, match=r"passages.db is damaged .*; delete the library's folder and sync your documents again"
    ):
        Library(tmp_path / "kb", counting)


def test_an_interrupted_embedding_is_taken_up_again(tmp_path, docs, counting):
    class Failing(type(counting)):
        def embed_documents(self, texts):
            raise MachineError("no memory")

    with Library(tmp_path / "kb", Failing()) as library, pytest.raises(MachineError, match="no memory"):
        library.sync(docs)
    with Library(tmp_path / "kb", counting) as library:
        assert library.search("the bus to the museum", mode="keyword")
        assert library.sync(docs).unchanged == 3
        assert len(counting.embedded) == 3


def test_a_search_leaves_no_network_and_no_telemetry():
    """Chroma's telemetry would need posthog's client; nothing may connect while a library is used."""
    code = textwrap.dedent("""
        import socket, sys, tempfile, pathlib
        def refuse(*a, **k): raise AssertionError("a connection was tried")
        socket.socket.connect = refuse
        from retrieval import Library
        from tests.retrieval.fakes import Counting
        folder = pathlib.Path(tempfile.mkdtemp())
        (folder / "a.txt").write_text("The pool opens.")
        with Library(folder / ".kb", Counting()) as library:
            library.sync(folder)
            assert library.search("pool")
    """)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("mend", [lambda library, docs: library.sync(docs), lambda library, docs: library.verify()])
def test_a_library_whose_words_were_taken_otherwise_says_so_until_they_are_taken_again(tmp_path, docs, counting, mend):
    with Library(tmp_path / "library", counting) as library:
        library.sync(docs)
        fresh = library.search("opening", mode="keyword")
    with apsw.Connection(str(tmp_path / "library" / "passages.db")) as old:  # as it was before there was a number
        old.execute("UPDATE passages SET terms = replace(terms, 'open', 'opens')")
        old.execute("DELETE FROM facts WHERE key = 'terms'")
    embedded = len(counting.embedded)
    with Library(tmp_path / "library", counting) as library:
        with pytest.raises(UsageError, match=r"taken by an older chaintune.*chaintune index --verify"):
            library.search("opening", mode="keyword")
        assert library.search("The pool opens", mode="dense")
        mend(library, docs)
        assert library.search("opening", mode="keyword") == fresh != []
    assert len(counting.embedded) == embedded
