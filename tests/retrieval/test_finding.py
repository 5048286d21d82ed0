"""How often the right passage is found: the sample's rulebook in two languages, and KorQuAD where it is there.

The figures of the packaged English model; `python -m tests.bench.retrieval` prints them for every mode.
"""

import csv
import json
import math
import re
from pathlib import Path

import pytest

from chains.models.embeddings import LocalEmbeddings
from retrieval import Library

RULEBOOK = Path(__file__).parents[2] / "apps" / "samples" / "hobanne" / "data"
KORQUAD = Path(__file__).parents[3] / "shared" / "data" / "korean" / "KorQuAD_v1.0_dev.json"
ARTICLE = {"ko": r"제(\d+)조", "en": r"Rule (\d+):"}


class Remembering(LocalEmbeddings):
    """Computes the vectors of all questions together, which is much faster than one by one."""

    def __init__(self, questions: list[str]) -> None:
        super().__init__()
        self._known = dict(zip(questions, self.embed_documents(questions), strict=True))

    def embed_query(self, text: str) -> list[float]:
        return self._known[text]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, list[int]]:
    """For every question of a language the place of its article among the six best passages, 6 where it is not among them.

    Both rulebooks are in one library, so that an article in the other language is wrong.
    """
    with (RULEBOOK / "qa.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    found: dict[str, list[int]] = {language: [] for language in ARTICLE}
    english = [row["question"] for row in rows if row["language"] == "en"]
    with Library(tmp_path_factory.mktemp("rulebooks") / "library", Remembering(english)) as library:
        for language in ARTICLE:
            library.sync(RULEBOOK / f"rulebook.{language}.md")
        for row in rows:
            language = row["language"]
            numbers = [_article(p.metadata, language) for p in library.search(row["question"], k=6)]
            found[language].append(numbers.index(row["rule"]) if row["rule"] in numbers else 6)
    return found


def _article(metadata, language) -> str | None:
    number = re.search(ARTICLE[language], metadata["heading"])
    return number[1] if number and metadata["source"] == f"rulebook.{language}.md" else None


def share(places: list[int], below: int) -> float:
    return sum(place < below for place in places) / len(places)


def test_the_right_english_article_comes_first(places):
    """By meaning alone it is 0.88: these questions share few words with their articles, and ranks do not tell how few."""
    assert share(places["en"], below=1) >= 0.82


def test_the_right_korean_article_comes_first_by_words_alone(places):
    """No packaged model knows Korean: a question that shares no telling word with its article, nor a near one, is lost."""
    assert share(places["ko"], below=1) >= 0.78


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_right_article_is_among_the_six_that_a_chatbot_reads(places, language):
    assert share(places[language], below=6) >= 0.95


@pytest.fixture(scope="module")
def korquad(tmp_path_factory):
    """A library of all paragraphs, and 200 questions spread over them, with the name of their paragraph."""
    if not KORQUAD.exists():
        pytest.skip("KorQuAD is not on this machine, and its licence does not let it be shipped")
    paragraphs, questions = [], []
    for article in json.loads(KORQUAD.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            paragraphs.append(paragraph["context"])
            questions += [(question["question"], paragraph["context"]) for question in paragraph["qas"]]
    assert len(paragraphs) == 964 and len(questions) == 5774
    folder = tmp_path_factory.mktemp("korquad")
    names = {text: f"{n}.txt" for n, text in enumerate(dict.fromkeys(paragraphs))}
    for text, name in names.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Library(tmp_path_factory.mktemp("korquad-library")) as library:
        library.sync(folder)
        yield library, [(question, names[text]) for question, text in questions[::28][:200]]


def ndcg(library, questions, mode) -> float:
    """Return nDCG@10 with one relevant document a question: 1 / log2(rank + 1)."""
    total = 0.0
    for question, name in questions:
        ranked = list(dict.fromkeys(p.metadata["source"] for p in library.search(question, k=40, mode=mode)))[:10]
        total += 1 / math.log2(ranked.index(name) + 2) if name in ranked else 0.0
    return total / len(questions)


def test_korean_paragraphs_are_found_and_hybrid_is_not_below_keyword(korquad):
    library, questions = korquad
    keyword, hybrid = ndcg(library, questions, "keyword"), ndcg(library, questions, "hybrid")
    print(f"KorQuAD nDCG@10 over 200 questions: keyword {keyword:.4f}, hybrid {hybrid:.4f}")
    assert keyword >= 0.94
    assert hybrid >= keyword - 1e-9
