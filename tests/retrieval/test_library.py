"""Syncing: what is new, changed, gone, moved and unreadable, and what is not done twice."""

import os
import shutil

import pytest

from chains.errors import MachineError, UsageError
from retrieval import Library, SyncReport


def report(added=0, updated=0, deleted=0, unchanged=0) -> SyncReport:
    return SyncReport(added, updated, deleted, unchanged, failed=[])


def names(library) -> list[str]:
    return [source.source for source in library.sources()]


def test_a_folder_comes_in_with_names_below_it(library, docs):
    assert library.sync(docs) == report(added=3)
    assert names(library) == ["pool.md", "sub/bus.txt", "도서관.md"]
    assert library.text("sub/bus.txt") == "The bus to the museum leaves every ten minutes."
    bus = library.sources()[1]
    assert (bus.passages, bus.characters, bus.size, bus.path) == (1, 47, 47, str(docs / "sub" / "bus.txt"))
    assert library.stats() == {"sources": 3, "characters": 128, "passages": 4, "embedded": 3, "embeddings": "counting"}


def test_what_has_not_changed_is_not_embedded_again(library, docs, counting):
    library.sync(docs)
    assert sorted(counting.embedded) == sorted([*_PASSAGES, "The bus to the museum leaves every ten minutes."])
    counting.embedded.clear()
    os.utime(docs / "pool.md", (1, 1))  # touched, not changed
    assert library.sync(docs) == report(unchanged=3)
    assert counting.embedded == []


_PASSAGES = ["# Pool\n\nThe pool opens at nine.", "# Sauna\n\nThe sauna is hot."]


def test_what_changed_is_read_again_and_alone(library, docs, counting):
    library.sync(docs)
    counting.embedded.clear()
    (docs / "sub" / "bus.txt").write_text("The tram is late.")
    (docs / "new.txt").write_text("A new document about boats.")
    assert library.sync(docs) == report(added=1, updated=1, unchanged=2)
    assert sorted(counting.embedded) == ["A new document about boats.", "The tram is late."]
    assert library.search("the tram is late", k=1)[0].text == "The tram is late."
    assert not any(
        "museum" in passage.text for mode in ("keyword", "dense") for passage in library.search("bus museum", mode=mode)
    )


def test_what_is_gone_leaves(library, docs):
    library.sync(docs)
    (docs / "pool.md").unlink()
    assert library.sync(docs) == report(deleted=1, unchanged=2)
    assert names(library) == ["sub/bus.txt", "도서관.md"]
    assert all(passage.metadata["source"] != "pool.md" for passage in library.search("the pool opens at nine"))
    assert library.verify() == 0
    shutil.rmtree(docs / "sub")
    (docs / "도서관.md").unlink()
    assert library.sync(docs) == report(deleted=2)


def test_a_file_synced_alone_leaves_the_others(library, docs):
    library.sync(docs)
    shutil.copy(docs / "pool.md", docs.parent / "other.md")
    assert library.sync(docs.parent / "other.md") == report(added=1)
    assert library.sync(docs / "pool.md") == report(unchanged=1)
    assert names(library) == ["other.md", "pool.md", "sub/bus.txt", "도서관.md"]


def test_a_pattern_takes_and_drops_what_it_matches(library, docs):
    assert library.sync(f"{docs}/**/*.txt") == report(added=1)
    assert names(library) == ["sub/bus.txt"]
    library.sync(docs / "pool.md")
    (docs / "pool.md").unlink()
    (docs / "sub" / "bus.txt").unlink()
    (docs / "sub" / "tram.txt").write_text("The tram.")
    assert library.sync(f"{docs}/**/*.txt") == report(added=1, deleted=1)
    assert names(library) == ["pool.md", "sub/tram.txt"]


def test_a_folder_that_moved_keeps_its_names_and_vectors(library, docs, counting):
    library.sync(docs)
    counting.embedded.clear()
    docs.rename(docs.parent / "moved")
    assert library.sync(docs.parent / "moved") == report(unchanged=3)
    assert counting.embedded == []
    assert library.sources()[0].path == str(docs.parent / "moved" / "pool.md")


def test_two_files_of_one_name_have_two_names(library, docs):
    other = docs.parent / "other"
    other.mkdir()
    (other / "pool.md").write_text("Another pool, with fish.")
    library.sync(docs)
    assert library.sync(other) == report(added=1)
    assert names(library) == ["other/pool.md", "pool.md", "sub/bus.txt", "도서관.md"]
    assert library.sync(other) == report(unchanged=1)
    assert library.text("other/pool.md") == "Another pool, with fish."


def test_files_that_cannot_be_read_are_listed_and_the_rest_goes_on(library, docs, pdf):
    (docs / "empty.txt").touch()
    (docs / "latin.txt").write_bytes(b"caf\xe9 au lait")
    (docs / "wrong.pdf").write_text("no pdf")
    (docs / "secret.pdf").write_bytes(pdf("secret", password="pw"))
    (docs / "letter.hwp").write_bytes(b"x")
    (docs / "memo.docx").write_bytes(b"x")
    (docs / "film.mp4").write_bytes(b"x")  # of a kind that nobody expects to be read
    found = library.sync(docs)
    assert (found.added, found.updated, found.deleted, found.unchanged) == (3, 0, 0, 0)
    assert dict(found.failed) == {
        str(docs / "empty.txt"): "empty.txt is empty",
        str(docs / "latin.txt"): "latin.txt is neither in UTF-8 nor in CP949; save it in UTF-8",
        str(docs / "letter.hwp"): (
            "letter.hwp is a file of Hangul, which is not read; save it as PDF, Word (.docx), Markdown, CSV or plain text"
        ),
        str(docs / "memo.docx"): "memo.docx is not a Word file, whatever its name says",
        str(docs / "secret.pdf"): "secret.pdf is protected by a password; save a copy without one",
        str(docs / "wrong.pdf"): "wrong.pdf is not a PDF, whatever its name says",
    }


def test_a_document_that_can_no_longer_be_read_stays_as_it_was(library, docs):
    library.sync(docs)
    (docs / "pool.md").write_bytes(b"")
    found = library.sync(docs)
    assert found.failed == [(str(docs / "pool.md"), "pool.md is empty; what was read of it before stays")]
    assert library.text("pool.md").startswith("# Pool")


def test_hidden_files_links_out_and_the_library_itself_are_not_documents(tmp_path, docs, counting):
    (docs / ".hidden.md").write_text("hidden")
    (docs / ".git").mkdir()
    (docs / ".git" / "a.txt").write_text("hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (docs / "link.txt").symlink_to(tmp_path / "outside.txt")
    (docs / "inner.txt").symlink_to(docs / "sub" / "bus.txt")
    with Library(docs / "kb", counting) as library:
        library.sync(docs)
        (docs / "kb" / "note.txt").write_text("a note")
        assert library.sync(docs) == report(unchanged=4)
        assert names(library) == ["inner.txt", "pool.md", "sub/bus.txt", "도서관.md"]


def test_what_is_not_there_is_refused(library, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.mp4").touch()
    with pytest.raises(UsageError, match=r"there is no file or folder .*nowhere; give a folder of documents"):
        library.sync(tmp_path / "nowhere")
    for place in (tmp_path / "empty", f"{tmp_path}/*.md"):
        with pytest.raises(UsageError, match=r"there is no document in .*; the kinds that are read are .md, "):
            library.sync(place)
    with pytest.raises(UsageError, match=r"film.mp4 is of a kind that is not read; the kinds are .md, "):
        library.sync(tmp_path / "film.mp4")


def test_progress_counts_every_file(library, docs):
    seen = []
    library.sync(docs, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3, "pool.md"), (2, 3, "bus.txt"), (3, 3, "도서관.md")]


def test_delete_takes_a_source_out(library, docs):
    library.sync(docs)
    library.delete("pool.md")
    assert names(library) == ["sub/bus.txt", "도서관.md"]
    assert library.verify() == 0
    with pytest.raises(UsageError, match=r"has no source 'sub/bus.text'; did you mean 'sub/bus.txt'"):
        library.delete("sub/bus.text")
    assert library.sync(docs) == report(added=1, unchanged=2)


def test_text_of_an_unknown_source_is_refused(library):
    with pytest.raises(UsageError, match=r"has no source 'x.md'"):
        library.text("x.md")


def test_a_table_is_found_row_by_row(library, tmp_path):
    (tmp_path / "prices.csv").write_text("item,price\nskate,5 euros\nkayak,9 euros\n")
    library.sync(tmp_path / "prices.csv")
    assert library.search("price of a kayak", k=1)[0].text == "item: kayak\nprice: 9 euros"


def test_another_embedding_model_is_refused(tmp_path, docs, counting):
    with Library(tmp_path / "kb", counting) as library:
        library.sync(docs)
    other = type(counting)()
    other.name = "another"
    with pytest.raises(UsageError, match=r"holds vectors of 'counting', which do not compare with those of 'another'"):
        Library(tmp_path / "kb", other)


def test_a_library_without_vectors_takes_a_new_model_and_gets_them(tmp_path, docs, counting):
    counting.covers = lambda text: False
    with Library(tmp_path / "kb", counting) as library:
        library.sync(docs)
        assert library.stats()["embedded"] == 0
        assert not (tmp_path / "kb" / "chroma").exists()
    multilingual = type(counting)()
    multilingual.name, multilingual.covers = "multilingual", lambda text: True
    with Library(tmp_path / "kb", multilingual) as library:
        assert library.sync(docs) == report(unchanged=3)
        assert len(multilingual.embedded) == library.stats()["embedded"] == 4
        assert library.search("도서관은 월요일에 쉰다", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


def test_a_passage_without_its_heading_is_embedded_below_it(library, tmp_path, counting):
    (tmp_path / "long.md").write_text("# Boats\n\n" + "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(4)))
    library.sync(tmp_path / "long.md")
    assert len(counting.embedded) > 1
    assert counting.embedded[0].startswith("# Boats\n\nParagraph 0.")
    assert all(text.startswith("Boats\n") for text in counting.embedded[1:])
    assert all(not passage.text.startswith("Boats\n") for passage in library.search("paragraph"))


def test_a_folder_with_other_things_is_not_made_a_library(docs, counting):
    with pytest.raises(UsageError, match=r"holds other files and no library; give a new or an empty folder"):
        Library(docs, counting)
    with pytest.raises(UsageError, match=r"pool.md is a file"):
        Library(docs / "pool.md", counting)


def test_two_collections_share_a_folder_and_nothing_else(tmp_path, docs, counting):
    with Library(tmp_path / "kb", counting, "one") as one, Library(tmp_path / "kb", counting, "two") as two:
        one.sync(docs)
        two.sync(docs / "sub")
        assert names(two) == ["bus.txt"]
        assert [p.metadata["source"] for p in two.search("the pool opens", mode="dense")] == ["bus.txt"]
        assert len(one.search("the pool opens", mode="dense")) == 3
    with pytest.raises(UsageError, match=r"collection '../x' is no name for a file"):
        Library(tmp_path / "kb", counting, "../x")


def paragraphs(*words: str) -> str:
    """A document of a passage for each word."""
    return "\n\n".join(f"# {word}\n\nAbout {word} there is this to say." for word in words)


def test_of_a_file_that_changed_only_the_new_passages_are_embedded(library, tmp_path, counting):
    file = tmp_path / "notes.md"
    file.write_text(paragraphs("one", "two", "three"))
    library.sync(file)
    counting.embedded.clear()
    file.write_text(paragraphs("zero", "one", "three", "four"))
    assert library.sync(file) == report(updated=1)
    assert counting.embedded == [paragraphs("zero"), paragraphs("four")]
    assert library.stats()["passages"] == 4 and library.verify() == 0
    text = library.text("notes.md")
    for word in ("zero", "one", "three", "four"):
        (found,) = library.search(f"About {word} there is", k=1, mode="dense")
        assert found.text == paragraphs(word) == text[found.metadata["start"] : found.metadata["end"]]


def test_a_passage_under_another_heading_is_found_by_it_and_not_embedded_again(library, tmp_path, counting):
    file = tmp_path / "notes.md"
    file.write_text("# Old\n\n## Ball\n\nRound.\n\n## Time\n\nTen.")
    library.sync(file)
    counting.embedded.clear()
    file.write_text("# Old\n\n## Ball\n\nRound.\n\n# New\n\nFirst.\n\n## Time\n\nTen.")
    library.sync(file)
    assert counting.embedded == ["# New\n\nFirst."]
    (found,) = library.search("Ten", mode="dense", where={"heading": "New > Time"})
    assert found.text == "## Time\n\nTen."


def test_a_file_that_was_renamed_is_not_embedded_again(library, docs, counting):
    library.sync(docs)
    counting.embedded.clear()
    (docs / "sub" / "bus.txt").rename(docs / "tram.txt")
    assert library.sync(docs) == report(updated=1, unchanged=2)
    assert counting.embedded == [] and names(library) == ["pool.md", "tram.txt", "도서관.md"]
    (found,) = library.search("the bus to the museum", k=1, mode="dense", where={"source": "tram.txt"})
    assert found.metadata["source"] == "tram.txt"


def test_a_text_that_stands_twice_is_embedded_once(library, tmp_path, counting):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("The same words in two files.")
    library.sync(f"{tmp_path}/*.txt")
    assert counting.embedded == ["The same words in two files."]
    assert {p.metadata["source"] for p in library.search("the same words", mode="dense")} == {"a.txt", "b.txt"}


def test_several_places_are_synced_together(library, docs):
    assert library.sync([docs / "sub", docs / "pool.md"]) == report(added=2)
    assert library.sync([docs / "sub", docs / "pool.md"]) == report(unchanged=2)


def test_a_row_of_a_long_table_is_found_by_the_name_of_its_column(library, tmp_path, counting):
    rows = "\n".join(f"| thing{n} | {n} euros |" for n in range(80))
    (tmp_path / "prices.md").write_text(f"| item | price |\n| --- | --- |\n{rows}\n")
    library.sync(tmp_path / "prices.md")
    assert len(counting.embedded) > 2 and all(
        text.startswith("| item | price |\n| --- |") for text in counting.embedded
    )
    (found,) = library.search("price thing79", k=1, mode="keyword")
    assert found.text.endswith("| thing79 | 79 euros |") and not found.text.startswith("| item")


def test_a_rebuild_cuts_and_embeds_everything_again_without_the_files(library, docs, counting, where):
    library.sync(docs)
    before = library.stats(), [library.text(name) for name in names(library)]
    shutil.rmtree(docs)
    counting.embedded.clear()
    library.rebuild()
    assert len(counting.embedded) == 3
    assert (library.stats(), [library.text(name) for name in names(library)]) == before
    assert library.verify() == 0
    assert library.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


def test_a_rebuild_gives_the_library_another_model(library, docs, counting, where):
    library.sync(docs)
    other = type(counting)()
    other.name = "another"
    library.rebuild(other)
    assert library.stats()["embeddings"] == "another" and len(other.embedded) == 3
    library.close()
    with Library(library.path, other) as again:
        assert again.verify() == 0
        assert again.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


def test_vectors_move_to_a_server_that_is_remembered(tmp_path, docs, counting, chroma):
    with Library(tmp_path / "kb", counting) as library:
        library.sync(docs)
    with Library(tmp_path / "kb", counting, chroma=chroma) as library:
        assert library.sync(docs) == report(unchanged=3)
        assert len(library._vectors.ids()) == 3
    with Library(tmp_path / "kb", counting) as library:  # the server is remembered
        assert library._vectors.place == chroma
        assert library.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://", "http://a:b@c", "http://h:port"])
def test_what_is_no_servers_address_is_refused(tmp_path, counting, url):
    with pytest.raises(UsageError, match="is no address of a Chroma server; give it as http://HOST:PORT"):
        Library(tmp_path / "kb", counting, chroma=url)


def test_a_server_that_does_not_answer_is_named(tmp_path, docs, counting):
    with (
        Library(tmp_path / "kb", counting, chroma="http://127.0.0.1:9") as library,
        pytest.raises(MachineError, match=r"the Chroma server at http://127.0.0.1:9 does not answer"),
    ):
        library.sync(docs)


def test_what_has_no_vector_is_found_anew_by_words_when_it_changed(library, tmp_path):
    file = tmp_path / "도서관.txt"
    for day in ("월요일", "화요일"):
        file.write_text(f"도서관은 {day}에 쉰다.", encoding="utf-8")
        library.sync(file)
        assert [passage.text for passage in library.search(day)] == [f"도서관은 {day}에 쉰다."]
    library.delete("도서관.txt")
    assert library.search("도서관") == []
