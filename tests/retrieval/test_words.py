"""What a text is found by, and BM25 over it."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.keywords import Keywords
from retrieval.words import neighbours, stem, terms

# From the examples in M. F. Porter, An algorithm for suffix stripping (1980), through all of its steps.
PORTER = {
    "caresses": "caress",
    "ponies": "poni",
    "caress": "caress",
    "cats": "cat",
    "feed": "feed",
    "plastered": "plaster",
    "bled": "bled",
    "motoring": "motor",
    "sing": "sing",
    "hopping": "hop",
    "falling": "fall",
    "filing": "file",
    "happy": "happi",
    "sky": "sky",
    "rate": "rate",
    "generalizations": "gener",
    "oscillators": "oscil",
}


@pytest.mark.parametrize("word", PORTER)
def test_stems_are_porters(word):
    assert stem(word) == PORTER[word]


@pytest.mark.parametrize(
    "forms",
    [
        "match matches",
        "score scores scored scoring",
        "play plays played playing",
        "resume resumed resuming",
        "measure measurement measuring",
    ],
)
def test_forms_of_a_word_have_one_stem(forms):
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("word", ["étés", "naïvement", "ﬁles", "x2s", "катами", "s" * 65])
def test_what_is_no_english_word_has_no_stem(word):
    assert stem(word) == word


def test_threads_that_stem_together_do_not_mix_their_words():
    """The stemmer keeps the word that it works at in itself; the words are new to the cache."""
    numbers = range(3000)
    words = ["".join(chr(97 + int(digit)) for digit in f"{n:05}") + "ings" for n in numbers]
    alone = subprocess.run(
        [sys.executable, "-c", "import sys; from retrieval.words import stem; print(*map(stem, sys.argv[1:]))", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(stem, words)) == alone.stdout.split()


def test_korean_particles_and_endings_fall_away():
    (one, other) = terms(["공이 나갔습니다", "공을 나가면"])
    assert {"공", "나가"} <= set(one) & set(other)


def test_syllable_pairs_are_kept_apart_from_words():
    (found,) = terms(["호반느"])
    assert {"~호반", "~반느"} <= set(found)


def test_latin_words_and_numbers_are_terms_in_any_text():
    assert terms(["FIFA 규칙 SKU-8847, 1,250원 3.5m"])[0][1:-4] != []
    assert {"fifa", "sku", "8847", "1250", "3", "5", "m"} <= set(terms(["FIFA 규칙 SKU-8847, 1,250원 3.5m"])[0])


def test_chinese_and_japanese_go_in_as_pairs():
    assert terms(["東京都 カメラ"]) == [["~東京", "~京都", "~カメ", "~メラ"]]


def test_english_alone_loads_no_kiwi():
    code = "import sys; from retrieval.words import terms, neighbours; terms(['the ball']); neighbours('the ball'); assert 'kiwipiepy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_near_words_are_near_in_meaning_and_unknown_words_have_none():
    near = neighbours("색상과 호반느")
    assert "색깔" in {word for word, _ in near["색상"]}
    assert all(0.6 <= score <= 1 for _, score in near["색상"])
    assert not near.get("호반느")


def test_what_is_near_but_of_another_root_does_not_stand_in():
    """Opposites are near in vectors that are learned from neighbouring words."""
    assert "안" not in dict(neighbours("밖")["밖"]) and "컬러" not in dict(neighbours("색상")["색상"])
    keywords = Keywords.build([1, 2], terms(["공이 안에 있다", "골대는 둘이다"]))
    assert keywords.query("밖").stand_ins == {}


def slow_bm25(documents: list[list[str]], query: list[str]) -> list[float]:
    """BM25 with Lucene's idf and without its constant factor (k1 + 1), from the formula in Kamphuis et al., ECIR 2020."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            n = sum(term in other for other in documents)
            tf = document.count(term)
            score += (
                math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                * tf
                / (tf + 1.2 * (0.25 + 0.75 * len(document) / mean))
            )
        scores.append(score)
    return scores


def test_scores_are_bm25_as_a_share_of_the_query():
    texts = ["red ball and blue ball", "the ball", "a red house with a red door", "nothing here at all"]
    documents = terms(texts)
    keywords = Keywords.build([3, 5, 8, 9], documents)
    query = keywords.query("red ball zeppelin")
    unknown = math.log(1 + 4.5 / 0.5)
    known = [math.log(1 + (4 - n + 0.5) / (n + 0.5)) for n in (2, 2)]
    expected = [score / (unknown + sum(known)) for score in slow_bm25(documents, ["red", "ball"])]
    found = dict(keywords.search(query, 10))
    assert found == pytest.approx(
        {id: score for id, score in zip([3, 5, 8, 9], expected, strict=True) if score}, rel=1e-5
    )
    assert list(found) == sorted(found, key=lambda id: -found[id])


def test_a_word_that_no_passage_holds_is_stood_in_for_by_the_nearest():
    keywords = Keywords.build([1, 2, 3], terms(["공의 색은 빨강이다", "공의 무게는 이백 그램이다", "공은 둘이다"]))
    query = keywords.query("색상")
    assert query.stand_ins == {"색상": "색"}
    assert [hit.id for hit in keywords.search(query, 3)] == [1]
    assert keywords.query("무게").stand_ins == {}


def test_no_term_no_passage_and_no_match_find_nothing():
    for keywords in (Keywords.build([], []), Keywords.build([1], terms(["!!!"])), Keywords.build([1], terms(["ball"]))):
        assert keywords.search(keywords.query("zeppelin"), 5) == []
        assert keywords.search(keywords.query("?"), 5) == []


@pytest.mark.parametrize("depth", [1, 2, 3, 7])
def test_of_equal_scores_the_earlier_passage_comes_first(depth):
    texts = ["a cat", "a red ball", "a red ball", "a dog", "red red ball", "a red ball", "a red hat"]
    keywords = Keywords.build(range(1, 8), terms(texts))
    assert [hit.id for hit in keywords.search(keywords.query("red ball"), depth)] == [5, 2, 3, 6, 7][:depth]


def test_a_saved_index_answers_the_same_and_only_for_its_state(tmp_path):
    keywords = Keywords.build([4, 7], terms(["a red ball", "빨간 공"]))
    keywords.save(tmp_path / "index", state=12)
    again = Keywords.load(tmp_path / "index", state=12)
    for question in ("red", "빨간 공"):
        assert again.search(again.query(question), 5) == keywords.search(keywords.query(question), 5) != []
    assert Keywords.load(tmp_path / "index", state=13) is None
    assert Keywords.load(tmp_path / "none", state=12) is None


def test_a_damaged_index_counts_as_none(tmp_path):
    Keywords.build([4], terms(["a red ball"])).save(tmp_path / "index", state=1)
    (tmp_path / "index" / "ids.npy").write_bytes(b"x")
    assert Keywords.load(tmp_path / "index", state=1) is None
