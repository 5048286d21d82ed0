"""Citations: the quote is the source's own text at the place it names, and the right sentence is chosen."""

import pytest
from langchain_core.documents import Document

from chains.citations import cite

KO = """# 넷볼 안내

## 인원과 시간

한 팀은 일곱 명으로 이루어진다. 경기는 15분씩 네 쿼터를 치른다. 쿼터 사이에는 3분을 쉰다.

## 반칙

- 공을 잡고 3초가 지나면 상대에게 공이 넘어간다.
- 상대와 90센티미터보다 가까이 서서 막으면 반칙이다.그때는 패스로 다시 시작한다.

## 공이 밖으로 나갈 때

공이 옆줄을 넘으면 마지막에 건드리지 않은 팀이 그 자리에서 던져 넣는다.
"""
EN = """# The tea room

## Hours

The room opens at nine in the morning. It closes at six, except on Fridays.

## Brewing

Green tea is brewed at 80 degrees for two minutes. Black tea takes boiling water and four minutes!

- Never squeeze the leaves.
- Warm the pot first.
"""


def passages(text, source, size=120, overlap=40):
    """Return overlapping passages of `text`, cut anywhere."""
    starts = range(0, len(text), size - overlap)
    return [
        Document(text[s : s + size], metadata={"source": source, "start": s, "end": min(s + size, len(text))})
        for s in starts
    ]


def whole(text, source="doc.md", **metadata):
    return Document(text, metadata={"source": source, "start": 0, "end": len(text), **metadata})


@pytest.mark.parametrize(
    ("text", "question", "answer", "quote"),
    [
        (KO, "한 팀은 몇 명인가요?", "일곱 명입니다.", "한 팀은 일곱 명으로 이루어진다."),
        (
            KO,
            "공이 옆줄을 넘으면요?",
            "건드리지 않은 팀이 던져 넣습니다.",
            "공이 옆줄을 넘으면 마지막에 건드리지 않은 팀이 그 자리에서 던져 넣는다.",
        ),
        (KO, "얼마나 쉬나요?", "쿼터 사이에 3분 쉽니다.", "쿼터 사이에는 3분을 쉰다."),
        (KO, "너무 가까이 서서 막으면?", "반칙입니다.", "상대와 90센티미터보다 가까이 서서 막으면 반칙이다."),
        (
            EN,
            "How hot is the water for green tea?",
            "80 degrees.",
            "Green tea is brewed at 80 degrees for two minutes.",
        ),
        (EN, "When does the room open?", "It opens at nine in the morning.", "The room opens at nine in the morning."),
        (EN, "What should be done with the pot?", "It should be warmed first.", "Warm the pot first."),
    ],
)
def test_the_sentence_that_says_it_comes_first(text, question, answer, quote):
    assert cite(question, answer, [whole(text)])[0].quote == quote


@pytest.mark.parametrize(
    ("text", "question"), [(KO, "공이 밖으로 나가면 누가 던지나요?"), (EN, "How long is tea brewed?")]
)
@pytest.mark.parametrize("size", [60, 97, 150])
def test_a_quote_is_the_sources_text_at_its_place(text, question, size):
    found = cite(question, question, passages(text, "doc.md", size, overlap=30), most=50)
    assert found
    for citation in found:
        assert text[citation.start : citation.end] == citation.quote
        assert citation.source == "doc.md"


def test_a_heading_is_never_quoted():
    found = cite("공이 밖으로 나갈 때", "공이 밖으로 나갈 때", [whole(KO)], most=50)
    assert found
    assert not any("공이 밖으로 나갈 때" in citation.quote or "#" in citation.quote for citation in found)


def test_an_answer_from_two_places_gets_both():
    found = cite(
        "Tell me about the tea.",
        "Green tea: 80 degrees, two minutes. Black tea: boiling water, four minutes.",
        [whole(EN)],
    )
    assert {citation.quote for citation in found} >= {
        "Green tea is brewed at 80 degrees for two minutes.",
        "Black tea takes boiling water and four minutes!",
    }


def test_a_sentence_in_two_passages_is_cited_once():
    found = cite("black tea", "black tea", [whole(EN), whole(EN)], most=50)
    assert len({(citation.start, citation.end) for citation in found}) == len(found)


def test_of_equal_sentences_the_better_ranked_comes_first():
    first, second = whole("Warm the pot.", "a.md"), whole("Warm the pot.", "b.md")
    assert [citation.source for citation in cite("pot?", "Warm the pot.", [first, second])] == ["a.md", "b.md"]
    assert [citation.source for citation in cite("pot?", "Warm the pot.", [second, first])] == ["b.md", "a.md"]


def test_the_rank_decides_between_sentences_that_say_nearly_the_same():
    today, again = (
        whole(f"The pot is warmed first with boiling water {word}.", f"{word}.md") for word in ("today", "again")
    )
    assert (
        cite("?", "The pot is warmed first with boiling water to", [again, today])[0].source == "again.md"
    )  # one pair less, one rank better
    assert cite("?", "The pot is warmed first with boiling water today.", [again, today])[0].source == "today.md"


def test_the_question_decides_where_the_answer_says_little():
    assert cite("Does the room open at nine?", "Yup.", [whole(EN)])[0].quote == "The room opens at nine in the morning."


def test_sentences_much_worse_than_the_best_are_left_out():
    found = cite("When does the room open?", "The room opens at nine in the morning.", [whole(EN)])
    assert [citation.quote for citation in found] == ["The room opens at nine in the morning."]


def test_what_has_nothing_to_do_with_the_answer_is_not_cited():
    assert cite("zzz?", "qqq", [whole(EN)]) == []
    assert cite("tea?", "tea", []) == []


def test_at_most_as_many_as_asked_for():
    assert len(cite("tea room water minutes", "tea room water minutes", [whole(EN)], most=1)) == 1


def test_page_and_heading_come_along():
    (citation,) = cite("pot", "Warm the pot.", [whole("Warm the pot.", page=3, heading="Brewing")])
    assert (citation.page, citation.heading) == (3, "Brewing")


def test_a_passage_whose_offsets_do_not_fit_is_not_quoted():
    passage = Document("Heading: Warm the pot.", metadata={"source": "a.md", "start": 100, "end": 113})
    assert cite("pot", "Warm the pot.", [passage]) == []


def test_a_passage_without_offsets_is_its_own_source():
    (citation,) = cite("pot", "Warm the pot.", [Document("Yes. Warm the pot.")], most=1)
    assert (citation.source, citation.start, citation.end) == ("passage 1", 5, 18)
