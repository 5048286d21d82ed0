"""Test collections in the forms that the field keeps them in."""

import json

import pytest

from chains.errors import UsageError
from retrieval import Library, judged, measure
from retrieval.judged import Judged


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    documents = [("d1", "Pool", "The pool opens at nine."), ("d2", "", "The bus leaves at ten."), ("d3", "", " ")]
    lines = (json.dumps({"_id": id, "title": title, "text": text}) for id, title, text in documents)
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = (
        {"_id": id, "text": text} for id, text in (("q1", "when does the pool open"), ("q2", "bus"), ("q3", "x"))
    )
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\nq3\td3\t1\n"
    )
    return folder


TOPICS = (
    "<xml><top><num> {0}</num><title>\nthe pool .\n</title></top><top><num> {1}</num><title>the bus</title></top></xml>"
)


@pytest.fixture
def trec(tmp_path):
    """Makes a TREC folder whose topics have these numbers."""
    folder = tmp_path / "trec"
    folder.mkdir()
    (folder / "docs.xml").write_text(
        "<doc>\n<docno>1</docno><title>pool</title><text>the pool &amp; the sauna</text></doc>\n<doc><docno>2</docno>bus</doc>"
    )

    def make(first, second, qrels="1 0 1 1\n2 0 2 1\n"):
        (folder / "topics.xml").write_text(TOPICS.format(first, second))
        (folder / "qrels.txt").write_text(qrels)
        return folder

    return make


def test_beir_is_read_and_what_cannot_be_answered_left_out(beir):
    found = judged.read(beir)
    assert found.documents == {"d1": "Pool\nThe pool opens at nine.", "d2": "The bus leaves at ten."}
    assert found.questions == {"q1": "when does the pool open", "q2": "bus"}
    assert found.grades == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}


def test_topics_are_joined_by_their_numbers_where_these_are_judged(trec):
    found = judged.read(trec("2", "1"))
    assert found.questions == {"2": "the pool .", "1": "the bus"} and not found.by_place
    assert found.documents["1"].split() == ["pool", "the", "pool", "&", "the", "sauna"]


def test_topics_are_joined_by_place_where_a_judged_number_is_none_of_theirs(trec):
    found = judged.read(trec("1", "4"))
    assert found.questions == {"1": "the pool .", "2": "the bus"} and found.by_place


def test_a_squad_file_answers_a_question_by_its_own_paragraph(tmp_path):
    paragraphs = [{"context": c, "qas": [{"id": c, "question": f"{c}?"}]} for c in ("a", "b")]
    (tmp_path / "s.json").write_text(json.dumps({"data": [{"paragraphs": [*paragraphs, paragraphs[0]]}]}))
    found = judged.read(tmp_path / "s.json")
    assert found.documents == {"p0": "a", "p1": "b"}
    assert found.grades == {"a": {"p0": 1}, "b": {"p1": 1}}


def test_what_is_no_collection_is_refused_with_its_place(beir, trec, tmp_path):
    (beir / "queries.jsonl").write_text('{"_id": "q1", "text": "x"}\n[]\n')
    with pytest.raises(UsageError, match=r'queries.jsonl:2: expected a JSON object with "_id"'):
        judged.read(beir)
    with pytest.raises(
        UsageError, match=r"there is no test collection at .*nowhere; give a folder in BEIR's or TREC's"
    ):
        judged.read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"judges topic '9', which is neither the <num> of one nor the place"):
        judged.read(trec("1", "4", "1 0 1 1\n9 0 2 1\n"))
    with pytest.raises(UsageError, match=r"qrels.txt:2: expected a question, a document and a grade"):
        judged.read(trec("1", "4", "1 0 1 1\n2 0 2 x\n"))
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is not in SQuAD's form"):
        judged.read(tmp_path / "s.json")


def test_a_split_that_is_not_there_names_those_that_are(beir):
    with pytest.raises(UsageError, match=r"there are no judgements .*dev.tsv; have test"):
        judged.read(beir, "dev")


def test_figures_are_those_worked_out_by_hand(library, tmp_path):
    """By words q1 finds a, b; q2 finds b, a of which a answers; q3 finds nothing: nDCG 1, 1/log2(3), 0."""
    documents = {"a": "pool pool sauna", "b": "pool bus bus and more words"}
    questions = {"q1": "pool sauna", "q2": "bus pool", "q3": "zeppelin"}
    asked = judged.Judged(documents, questions, {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"b": 1}})
    names = measure.fill(library, asked, tmp_path / "texts")
    figures = measure.measure(library, asked, names, "keyword", k=2)
    assert figures.pop("ms") > 0
    assert figures == pytest.approx({"nDCG@2": (1 + 0.63093) / 3, "R@2": 2 / 3, "RR@2": 1.5 / 3}, abs=1e-4)
    assert measure.sample(asked, 2).questions == {"q1": "pool sauna", "q3": "zeppelin"}


def test_dense_is_no_mode_where_the_model_does_not_know_the_questions_language(tmp_path, counting):
    """One passage that the model knows, a page of English among Korean ones, does not make its questions known."""
    documents = {"a": "The museum opens at nine.", "b": "도서관은 월요일에 쉰다."}
    korean = Judged(
        documents,
        {"1": "When does the museum open?", "2": "도서관은 언제 쉬나요?"},
        {"1": {"a": 1}, "2": {"b": 1}},
        False,
    )
    english = Judged(documents, {"1": "When does the museum open?"}, {"1": {"a": 1}}, False)
    with Library(tmp_path / "library", counting) as library:
        names = measure.fill(library, korean, tmp_path / "documents")
        assert measure.modes(library, english) == ["hybrid", "dense", "keyword"]
        assert measure.modes(library, korean) == ["hybrid", "keyword"]
        assert all(
            measure.measure(library, korean, names, mode)["nDCG@10"] == 1 for mode in measure.modes(library, korean)
        )
