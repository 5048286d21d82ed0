"""Answers and citations measured: figures worked by hand, and the command from a library to its table. Korean, so nothing is embedded."""

import json

import pytest

from apps import rag_eval
from apps.cli import main
from apps.rag_eval import Place, Question, Scores
from chains.citations import Citation
from chains.errors import UsageError
from retrieval import Library

RULES = "쉬는 시간은 칠 분입니다.\n\n공이 밖으로 나가면 상대가 던집니다.\n"


def citation(source, start, end):
    return Citation(source, start, end, "…", None, None, 1.0)


def made(answer, *citations, support=0.5):
    return {"answer": answer, "citations": list(citations), "support": support}


EVIDENCE = (Place("a.md", 10, 20), Place("b.md", 0, 5))


@pytest.mark.parametrize(
    ("citations", "precision", "recall"),
    [
        ([("a.md", 15, 30)], 1, 1 / 2),  # shares 15 to 20 with the first piece; the second is not cited
        ([("a.md", 20, 30), ("b.md", 4, 9)], 1 / 2, 1 / 2),  # begins where the first piece ends; overlaps the second
        ([("a.md", 0, 11), ("a.md", 19, 40), ("b.md", 0, 1)], 1, 1),
        ([("c.md", 10, 20)], 0, 0),
        ([], None, 0),  # no citation: nothing to be right about, and no evidence found
    ],
)
def test_citations_are_right_where_they_share_text_with_the_evidence(citations, precision, recall):
    found = rag_eval.score(
        Question("?", ("x",), EVIDENCE), made("x", *(citation(*one) for one in citations)), told=True
    )
    assert (found.citation_precision, found.citation_recall) == (precision, recall)


def test_the_answer_is_scored_as_squad_and_korquad_do():
    english = rag_eval.score(Question("?", ("seven minutes", "7 min"), None), made("The seven."), told=True)
    assert english == Scores(0.0, 2 / 3, None, None, 0.5)
    korean = rag_eval.score(Question("?", ("칠 분",), None), made("칠 분입니다."), told=True)
    assert korean.f1 == pytest.approx(4 / 7)


def test_where_the_documents_do_not_tell_saying_so_is_right():
    silent = Question("?", (), ())
    assert rag_eval.score(silent, made("문서에서 답을 찾지 못했습니다."), told=False) == Scores(
        1.0, 1.0, None, None, 0.5
    )
    assert rag_eval.score(silent, made("칠 분"), told=True).exact == 0
    assert rag_eval.score(Question("?", ("칠 분",), None), made("문서에서"), told=False).f1 == 0


def test_means_count_what_there_is():
    rows = [Scores(1, 1, None, 0.5, 0.2), Scores(0, 0.5, 1, None, 0.4)]
    assert rag_eval.means(rows) == pytest.approx(
        {"exact": 0.5, "f1": 0.75, "citation_precision": 1, "citation_recall": 0.5, "support": 0.3}
    )
    assert rag_eval.means(rows[:1])["citation_precision"] is None


@pytest.fixture
def kb(tmp_path):
    (tmp_path / "rules.txt").write_text(RULES)
    with Library(tmp_path / "kb") as library:
        library.sync(tmp_path / "rules.txt")
    return tmp_path / "kb"


def written(tmp_path, *rows):
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_measures_a_model_over_a_library(kb, tmp_path, capsys):
    questions = written(
        tmp_path,
        {
            "question": "쉬는 시간은 몇 분인가요?",
            "answer": "칠 분입니다.",
            "evidence": [{"source": "rules.txt", "quote": "칠 분"}],
        },
        {
            "question": "공이 밖으로 나가면?",
            "answer": ["상대가 던집니다"],
            "evidence": [{"source": "rules.txt", "quote": "상대"}],
        },
    )
    command = ["eval", "rag", str(questions), "--library", str(kb), "--model", "fake:칠 분입니다."]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["answers"]
    assert found["rows"] == 2 and (first["exact"], second["exact"], found["exact"]) == (1, 0, 0.5)
    assert first["citation_precision"] == first["citation_recall"] == 1 and first["support"] == 1
    assert second["f1"] == pytest.approx(2 * 2 / (5 + 7))  # 니 and 다 of 칠분입니다 and 상대가던집니다
    assert main([*command, "--lang", "ko"]) == 0
    out = capsys.readouterr().out
    assert "질문 2개" in out and "exact\tf1\tcitation_precision\tcitation_recall\tsupport" in out


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"answer": "x"}, "q.jsonl:1: question is None"),
        ({"question": "x"}, "q.jsonl:1: answer is None; give a text"),
        ({"question": "x", "answer": "y", "evidence": "z"}, "q.jsonl:1: evidence is 'z'"),
        ({"question": "x", "answer": "y", "evidence": [{"source": "no.md"}]}, "is from 'no.md', which the library"),
        (
            {"question": "x", "answer": "y", "evidence": [{"source": "rules.txt", "quote": "팔 분"}]},
            "does not hold the quote",
        ),
    ],
)
def test_a_row_that_cannot_be_measured_is_named(kb, tmp_path, row, sentence):
    with Library(kb) as library, pytest.raises(UsageError, match=sentence):
        rag_eval.read(written(tmp_path, row), library)


def test_a_file_without_questions_is_refused(kb, tmp_path):
    with Library(kb) as library:
        with pytest.raises(UsageError, match="has no questions"):
            rag_eval.read(written(tmp_path), library)
        (whole,) = rag_eval.read(
            written(tmp_path, {"question": "x", "answer": "", "evidence": [{"source": "rules.txt"}]}), library
        )
        assert whole == Question("x", (), (Place("rules.txt", 0, len(library.text("rules.txt"))),))
