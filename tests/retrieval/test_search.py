"""Searching: three modes, filters, why, and the LangChain retriever."""

import asyncio

import pytest

from chains.errors import UsageError
from chains.passages import END, HEADING, PAGE, SOURCE, START
from retrieval import Library
from retrieval.variety import chosen
from retrieval.words import codes
from tests.retrieval.fakes import Counting


@pytest.fixture
def filled(library, docs):
    library.sync(docs)
    return library


def test_a_passage_says_where_it_stands(filled):
    (passage,) = filled.search("The pool opens at nine.", k=1)
    assert passage.metadata == {SOURCE: "pool.md", START: 0, END: 31, HEADING: "Pool"}
    assert passage.text == filled.text("pool.md")[0:31] == "# Pool\n\nThe pool opens at nine."


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_every_mode_finds_the_passage_in_english(filled, mode):
    (passage,) = filled.search("the bus to the museum", k=1, mode=mode)
    assert passage.metadata[SOURCE] == "sub/bus.txt"


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_korean_is_found_by_words(filled, mode):
    (passage,) = filled.search("도서관이 쉬는 날은 언제인가요?", k=1, mode=mode)
    assert passage.metadata[SOURCE] == "도서관.md"


def test_dense_is_left_out_where_the_model_does_not_know_the_language(filled, counting):
    (passage,) = filled.search("도서관이 쉬는 날", k=1)
    assert passage.why == "keyword 1, dense left out: counting does not know this language"
    assert not any("도서관" in text for text in counting.embedded)
    with pytest.raises(
        UsageError, match=r"dense search is left out: counting does not know this language; use mode='hybrid'"
    ):
        filled.search("도서관", mode="dense")


def test_why_gives_the_rank_in_each_way_and_the_stand_ins(filled):
    assert filled.search("the bus to the museum", k=1)[0].why == "0.3 × keyword 1, 0.7 × dense 1"
    assert filled.search("zeppelin", k=1)[0].why.startswith("keyword –, dense 1")
    assert "(월요일 for 화요일)" in filled.search("화요일", k=1)[0].why


def test_where_chooses_among_sources_and_headings(filled):
    for mode in ("hybrid", "dense", "keyword"):
        assert {p.metadata[SOURCE] for p in filled.search("the pool", mode=mode, where={"source": "sub/bus.txt"})} <= {
            "sub/bus.txt"
        }
        found = filled.search(
            "the sauna is hot", mode=mode, where={"source": ["pool.md", "sub/bus.txt"], "heading": "Sauna"}
        )
        assert [p.metadata[HEADING] for p in found] == ["Sauna"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"query": "  "}, "the question is empty"),
        ({"query": "x", "k": 0}, "k is 0; give the number of passages"),
        ({"query": "x", "mode": "vectr"}, "mode 'vectr' is unknown; use hybrid, dense, keyword"),
        ({"query": "x", "where": {"page": {"$gt": 3}}}, r"where has \{'\$gt': 3\} for page; give a value, or a list"),
        ({"query": "x", "where": {"sorce": "a"}}, "where has 'sorce'.*did you mean 'source'"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(library, call, message):
    with pytest.raises(UsageError, match=message):
        library.search(**call)


def test_a_retriever_with_a_wrong_mode_is_refused_when_it_is_made(library):
    with pytest.raises(UsageError, match=r"mode 'keywords' is unknown.*did you mean 'keyword'"):
        library.as_retriever(mode="keywords")


def test_more_than_there_is_and_none_of_what_there_is(filled):
    assert len(filled.search("the pool", k=10**12)) == 3  # the Korean one has no vector and no word of it
    assert filled.search("the pool", where={"source": []}) == filled.search("the pool", where={"source": "no.md"}) == []


def test_an_empty_library_finds_nothing(library):
    assert library.search("anything") == []


def test_strange_questions_are_answered_all_the_same(filled):
    for question in ("\ud800 pool", "pool\x00", "!?", "😀", "pool " * 3000, "ㅋㅋㅋ", "{question} %s"):
        assert isinstance(filled.search(question), list)


def test_the_retriever_returns_documents_sync_and_async(filled):
    retriever = filled.as_retriever(k=2)
    documents = retriever.invoke("the bus to the museum")
    assert len(documents) == 2
    assert (
        documents[0].metadata[SOURCE] == "sub/bus.txt"
        and documents[0].metadata["why"] == "0.3 × keyword 1, 0.7 × dense 1"
    )
    assert documents[0].metadata["score"] > documents[1].metadata["score"]
    assert asyncio.run(retriever.ainvoke("the bus to the museum")) == documents


def test_many_threads_search_at_once(filled):
    questions = ["the bus to the museum", "the pool opens", "도서관 월요일"] * 10
    once = [filled.search(question, k=1) for question in questions]
    assert [[(d.page_content, d.metadata["why"])] for (d,) in filled.as_retriever(k=1).batch(questions)] == [
        [(p.text, p.why)] for (p,) in once
    ]


def test_a_page_is_given_and_can_be_chosen(library, tmp_path, pdf):
    (tmp_path / "a.pdf").write_bytes(pdf("The first page is about cats", "The second page is about dogs"))
    library.sync(tmp_path / "a.pdf")
    assert library.search("dogs", k=1)[0].metadata[PAGE] == 2
    assert [p.metadata[PAGE] for p in library.search("page", where={"page": 1})] == [1]


def test_weights_decide_and_are_said(library, tmp_path):
    (tmp_path / "a.txt").write_text("pool pool pool")  # the word alone is its vector
    (tmp_path / "b.txt").write_text("the pool and sauna open, both of them, at nine in the morning of every day")
    for n in range(3):
        (tmp_path / f"c{n}.txt").write_text(f"A bus leaves for museum {n}.")
    library.sync(tmp_path / "*.txt")
    question = "pool and sauna both pool pool pool pool pool pool"
    by_words, by_meaning = library.search(question, mode="keyword"), library.search(question, mode="dense")
    assert by_words[0].metadata[SOURCE] == "b.txt" and by_meaning[0].metadata[SOURCE] == "a.txt"
    (first, *_) = library.search(question, weights={"keyword": 2})
    assert first.metadata[SOURCE] == "b.txt" and first.why == "2 × keyword 1, 0.7 × dense 2"
    (first, *_) = library.as_retriever(weights={"keyword": 0.5}).invoke(question)
    assert first.metadata[SOURCE] == "a.txt" and first.metadata["why"] == "0.5 × keyword 2, 0.7 × dense 1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            {"weights": {"keywords": 2}},
            "weights has 'keywords'; give numbers for keyword and dense; did you mean 'keyword'",
        ),
        ({"weights": {"dense": -1}}, "the weight of dense is -1; give a number of at least 0"),
        ({"weights": {"dense": 0, "keyword": 0}}, "all weights are 0"),
        ({"weights": {"dense": 2}, "mode": "keyword"}, "weights are of hybrid search, and the mode is 'keyword'"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(library, call, message):
    with pytest.raises(UsageError, match=message):
        library.as_retriever(**call)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("part XK-1042?", {"xk-1042"}),
        ("RTX4090 or v2.1, and 3 of 4000 on e-mail", {"rtx4090", "v2.1"}),
        ("부품 SKU-8847의 값", {"sku-8847"}),
        ("the 3d of 1990, mach 2", set()),  # two characters are no code, nor is a number alone
    ],
)
def test_codes_hold_letters_and_digits(text, found):
    assert codes(text) == found


def test_a_code_outweighs_meaning(library, tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for n in range(60):
        (folder / f"{n}.txt").write_text(
            f"This report describes the part XK-{n + 1000} of the machine and how it is mounted."
        )
    library.sync(folder)
    (first, second) = library.search("which report describes part XK-1042?", k=2)
    assert first.metadata[SOURCE] == "42.txt" and first.why.startswith("0.7 × code 1, 0.3 × keyword 1, 0.7 × dense")
    assert second.why.startswith("0.7 × code –, ") and "code" not in library.search("which report?", k=1)[0].why


def test_a_closed_library_says_so(tmp_path, counting):
    library = Library(tmp_path / "closed", counting)
    library.close()
    with pytest.raises(UsageError, match=r"is closed; open it again"):
        library.search("x")


def test_mmr_leaves_out_what_says_the_same_again():
    """By hand: a and b are alike (1), c shares nothing; the relevances are 1, 0.9, 0 after scaling."""
    terms = [["x", "y"], ["x", "y"], ["z"]]
    assert chosen([0.8, 0.75, 0.3], terms, 2, balance=0.5) == [0, 2]  # 0.45 - 0.5 < 0 - 0
    assert chosen([0.8, 0.75, 0.3], terms, 2, balance=1.0) == [0, 1]
    assert chosen([0.8, 0.75, 0.3], terms, 2, balance=0.6) == [0, 1]  # 0.54 - 0.4 > 0
    assert chosen([], [], 3, balance=0.5) == []


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_mmr_shows_another_document_before_a_copy(library, tmp_path, mode):
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text("The red pool opens at nine in the morning")
    (folder / "c.txt").write_text("A red boat leaves")
    library.sync(folder)
    plain = [p.metadata[SOURCE] for p in library.search("the red pool opens", k=2, mode=mode)]
    varied = [p.metadata[SOURCE] for p in library.search("the red pool opens", k=2, mode=mode, mmr=0.3)]
    assert sorted(plain) == ["a.txt", "b.txt"] and varied == [plain[0], "c.txt"]
    assert [
        d.metadata[SOURCE] for d in library.as_retriever(k=2, mode=mode, mmr=0.3).invoke("the red pool opens")
    ] == varied
    with pytest.raises(UsageError, match=r"mmr is 2; give a number from 0"):
        library.as_retriever(mmr=2)


def test_a_parent_is_what_stands_under_the_same_heading_once(library, tmp_path):
    paragraphs = [f"Paragraph {n} tells of {word}. " + "more " * 90 for n, word in enumerate(("cats", "dogs", "owls"))]
    (tmp_path / "a.md").write_text("# Beasts\n\n" + "\n\n".join(paragraphs) + "\n\n# Boats\n\nA boat tells of dogs.\n")
    library.sync(tmp_path / "a.md")
    text = library.text("a.md")
    small = library.search("paragraph dogs", k=1)[0]
    (wide, other) = library.search("paragraph tells of dogs", k=9, parents=True)
    assert {wide.metadata[HEADING], other.metadata[HEADING]} == {"Beasts", "Boats"}
    beasts = wide if wide.metadata[HEADING] == "Beasts" else other
    assert beasts.metadata[START] == 0 and text[0 : beasts.metadata[END]] == beasts.text
    assert all(word in beasts.text for word in ("cats", "dogs", "owls")) and "owls" not in small.text
    assert small.text in beasts.text


def test_a_parent_grows_no_longer_than_its_limit(library, tmp_path):
    (tmp_path / "long.txt").write_text("\n\n".join(f"Paragraph {n}. " + "word " * 100 for n in range(20)))
    library.sync(tmp_path / "long.txt")
    (found,) = library.search("paragraph 10", k=1, mode="keyword", parents=True)
    assert "Paragraph 10." in found.text and 1200 < len(found.text) <= 2400
    assert library.text("long.txt")[found.metadata[START] : found.metadata[END]] == found.text


def test_each_way_gives_its_own_score(filled):
    (passage,) = filled.search("the bus to the museum", k=1)
    assert set(passage.scores) == {"keyword", "dense"} and 0 < passage.scores["keyword"] <= 1
    assert filled.search("도서관", k=1)[0].scores.keys() == {"keyword"}


class Mostly(Counting):
    """Knows a text at least half of whose letters are plain, as the packaged model does."""

    def covers(self, text: str) -> bool:
        letters = [letter for letter in text if letter.isalpha()]
        return 2 * sum(map(str.isascii, letters)) >= len(letters)


def test_a_question_of_two_scripts_is_left_to_words_where_some_passages_have_no_vector(tmp_path, docs):
    question = "도서관 library museum bus"
    with Library(tmp_path / "library", Mostly()) as library:
        library.sync(docs)
        assert [p.why for p in library.search(question, k=1)] == [
            "keyword 1, dense left out: counting does not know this language"
        ]
        assert library.search("library museum bus", k=1)[0].why.endswith("dense 1")
        assert library.search(question, k=1, mode="dense")
        library.delete("도서관.md")
        assert library.search(question, k=1)[0].why.endswith("dense 1")
