"""eval retrieval: a test collection in, figures out. The documents are Korean, so no embedding model is loaded."""

import json

import pytest

from apps.cli import main


@pytest.fixture
def collection(tmp_path):
    texts = ("공이 밖으로 나가면 상대가 던집니다.", "쉬는 시간은 칠 분입니다.")
    asked = ("쉬는 시간은 몇 분인가요?", "공이 밖으로 나가면?")
    paragraphs = [
        {"context": text, "qas": [{"id": f"q{n}", "question": question}]}
        for n, (text, question) in enumerate(zip(texts, reversed(asked), strict=True))
    ]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return path


def test_retrieval_is_measured_in_every_mode_that_knows_the_language(collection, capsys):
    assert main(["eval", "retrieval", str(collection), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["documents"], made["questions"], made["by_place"]) == (2, 2, False)
    assert list(made["modes"]) == ["hybrid", "keyword"]
    assert {name: made["modes"]["keyword"][name] for name in ("nDCG@10", "R@10", "RR@10")} == {
        "nDCG@10": 1.0, "R@10": 1.0, "RR@10": 1.0
    }  # fmt: skip


def test_it_speaks_korean_and_keeps_its_index_where_asked(collection, tmp_path, capsys):
    command = ["eval", "retrieval", str(collection), "--mode", "keyword", "--work", str(tmp_path / "w"), "--lang", "ko"]
    assert main([*command, "--questions", "1"]) == 0
    out = capsys.readouterr().out
    assert "문서 2개, 질문 1개" in out and "keyword\t1\t1\t1\t" in out
    assert (tmp_path / "w" / "library" / "passages.db").is_file()


def test_a_mode_that_is_none_and_a_collection_that_is_not_there_end_with_2(collection, capsys):
    assert main(["eval", "retrieval", str(collection), "--mode", "keywords"]) == 2
    assert "mode 'keywords' is unknown" in capsys.readouterr().err
    assert main(["eval", "retrieval", "/nowhere"]) == 2
    assert "there is no test collection at /nowhere" in capsys.readouterr().err


def test_eval_of_a_file_is_eval_model(capsys):
    assert main(["eval", "--model", "starter", "/nowhere.jsonl"]) == 2
    first = capsys.readouterr().err
    assert "/nowhere.jsonl" in first
    assert main(["eval", "/nowhere.jsonl", "--model", "starter"]) == 2
    assert capsys.readouterr().err == first
