"""A passage is a place in the text: exact, short enough, under its headings, and nothing is lost between two."""

import re
from bisect import bisect_right
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.sizes import SIZE, Ruler, ruler
from retrieval.split import SHARE, split
from retrieval.text import Text, clean, joined

MARKUP = [
    "",
    " ",
    "\t",
    "# Top",
    "## 제1조 공",
    "### a `b`",
    "Title",
    "=====",
    "---",
    "```",
    "~~~",
    "- item",
    "| a | b |",
    "    code",
]
PROSE = [
    "A sentence. Another one! 셋째 문장이다. 넷째.",
    "word " * 150,
    f"An {'endless ' * 20}sentence. " * 5,
    "가나다라" * 200,
    "x" * 1500,
    "제2조 시간",
    "1. one\u3000",
]
LINES = st.sampled_from(MARKUP + PROSE) | st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
DOCUMENTS = st.lists(LINES, max_size=25).map(lambda lines: clean("\n".join(lines)))


def passages(text: str, **about) -> list[str]:
    return [text[piece.start : piece.end] for piece in split(Text(text, **about))]


@given(DOCUMENTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_passage_is_a_place_within_the_limit(text, markdown):
    for piece in split(Text(text, markdown=markdown)):
        assert 0 <= piece.start < piece.end <= len(text)
        passage = text[piece.start : piece.end]
        assert passage == passage.strip()
        assert len(passage) <= SIZE


@given(DOCUMENTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_character_but_white_space_is_in_a_passage(text, markdown):
    inside = set()
    for piece in split(Text(text, markdown=markdown)):
        inside.update(range(piece.start, piece.end))
    assert [text[i] for i in range(len(text)) if i not in inside and not text[i].isspace()] == []


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_passages_come_in_order_and_share_no_more_than_one_short_sentence(text):
    pieces = list(split(Text(text, markdown=True)))
    for one, other in pairwise(pieces):
        assert one.start < other.start and one.end < other.end
        assert one.end - other.start <= SHARE * SIZE


@given(st.lists(DOCUMENTS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_passage_lies_on_one_page(pages):
    text, breaks = joined(pages)
    for piece in split(Text(text, breaks, paged=True)):
        assert piece.page == bisect_right(breaks, piece.start) == bisect_right(breaks, piece.end - 1)


def test_a_heading_at_the_end_of_a_page_stays_on_it():
    text, breaks = joined(["제1장 총칙", "제1조 공\n공은 둘이다."])
    found = [(piece.page, text[piece.start : piece.end]) for piece in split(Text(text, breaks, paged=True))]
    assert found == [(1, "제1장 총칙"), (2, "제1조 공\n공은 둘이다.")]


def test_headings_begin_passages_and_nest():
    text = "# Rules\n\nIntro.\n\n## Ball\nRound.\n\n### Colour\nRed.\n\n## Time\nTen minutes.\n"
    found = [(piece.heading, text[piece.start : piece.end]) for piece in split(Text(text, markdown=True))]
    assert found == [
        ("Rules", "# Rules\n\nIntro."),
        ("Rules > Ball", "## Ball\nRound."),
        ("Rules > Ball > Colour", "### Colour\nRed."),
        ("Rules > Time", "## Time\nTen minutes."),
    ]


def test_a_heading_with_nothing_below_goes_with_the_deeper_one_and_not_with_its_equal():
    assert passages("# A\n\n## B\n\ntext", markdown=True) == ["# A\n\n## B\n\ntext"]
    assert passages("## A\n\n## B\n\ntext", markdown=True) == ["## A", "## B\n\ntext"]


def test_an_underlined_line_is_a_heading():
    text = "Rules\n=====\n\nOne.\n\nBall\n----\n\nTwo.\n"
    assert [piece.heading for piece in split(Text(text, markdown=True))] == ["Rules", "Rules > Ball"]


def test_what_looks_like_a_heading_in_code_or_front_matter_is_none():
    text = "---\ntitle: x\ntags: y\n---\n\n```\n# no heading\n```\n\n# Yes\n\n~~~~\n# no\n~~~\n# no\n~~~~\ntext"
    assert {piece.heading for piece in split(Text(text, markdown=True))} == {"", "Yes"}


def test_a_heading_is_plain_words():
    (piece,) = split(Text("## **Ball** [size](x.md) `big` ##\ntext", markdown=True))
    assert piece.heading == "Ball size big"


def test_korean_articles_are_headings_in_plain_text_and_sentences_are_not():
    text = "제1장 총칙\n제1조(목적) 이 규칙은 경기를 정한다.\n제2조 공\n공은 둘이다.\n제1조에 따라 심판이 정한다.\n제3조의2 (시간)\n십 분."
    headings = [piece.heading for piece in split(Text(text))]
    assert headings == ["제1장 총칙", "제1장 총칙 > 제2조 공", "제1장 총칙 > 제3조의2 (시간)"]


def test_a_long_paragraph_is_cut_between_sentences_and_repeats_a_short_one():
    text = " ".join(f"This is sentence number {n} of a long paragraph." for n in range(40))
    found = passages(text)
    assert len(found) > 2
    assert all(passage.startswith("This is") and passage.endswith("paragraph.") for passage in found)
    for one, other in pairwise(found):
        assert other.startswith(one[one.rindex("This is") :])


def test_sections_that_fit_do_not_overlap():
    text = "\n\n".join(f"# H{n}\n\n{'word ' * 50}" for n in range(5))
    pieces = list(split(Text(text, markdown=True)))
    assert len(pieces) == 5
    assert all(one.end < other.start for one, other in pairwise(pieces))


def test_a_record_is_a_passage():
    text, breaks = joined(["name: a\nsize: 1", "name: b\nsize: 2"])
    assert passages(text, breaks=breaks) == ["name: a\nsize: 1", "name: b\nsize: 2"]


def test_many_short_sentences_without_a_space_between_take_no_long_time():
    assert len(passages("A. " * 100_000)) > 400


TABLE = "| item | price |\n| --- | --- |\n" + "\n".join(f"| thing number {n} | {n} euros |" for n in range(60))


def test_a_table_that_fits_is_one_passage_and_is_not_cut():
    table = "\n".join(TABLE.split("\n")[:12])
    text = f"# Prices\n\n{'Some words. ' * 45}\n\n{table}\n\nAfter it."
    found = passages(text, markdown=True)
    assert [passage for passage in found if "|" in passage] == [f"{table}\n\nAfter it."]


def test_a_long_table_is_cut_between_rows_and_its_passages_know_the_header():
    text = f"Prices of 2024:\n{TABLE}\n\nAfter it."
    pieces = list(split(Text(text, markdown=True)))
    header = "| item | price |\n| --- | --- |"
    cut = [(text[p.start : p.end], p.header and text[slice(*p.header)]) for p in pieces]
    assert cut[0] == ("Prices of 2024:", None) and cut[-1] == ("After it.", None)
    assert cut[1][0].startswith(header) and cut[1][1] is None
    assert len(cut) > 5 and all(above == header for _, above in cut[2:-1])
    rows = [line for passage, _ in cut[1:-1] for line in passage.split("\n")]
    assert "\n".join(rows) == TABLE
    assert all(len(passage) + len(above or "") <= SIZE for passage, above in cut)


def test_fenced_code_is_cut_between_lines():
    code = "\n".join(f"call(first, {n}). then(second). finally(third)" for n in range(40))
    text = f"Do this:\n\n```\n{code}\n```\n\nDone."
    lines = [
        line for passage in passages(text, markdown=True) for line in passage.split("\n") if line.startswith("call")
    ]
    assert "\n".join(lines) == code


class Words:
    """A model whose tokens are words, and which reads eight."""

    max_tokens = 8

    def token_starts(self, text):
        return [word.start() for word in re.finditer(r"\S+", text)]


@given(DOCUMENTS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_passage_is_within_the_models_tokens(text, markdown):
    inside = set()
    for piece in split(Text(text, markdown=markdown), Ruler(8, Words().token_starts(text))):
        assert 0 < len(text[piece.start : piece.end].split()) <= 8
        inside.update(range(piece.start, piece.end))
    assert [text[i] for i in range(len(text)) if i not in inside and not text[i].isspace()] == []


def test_the_model_says_how_long_a_passage_is():
    text = " ".join(f"word{n}" for n in range(80))
    assert [len(text[p.start : p.end].split()) for p in split(Text(text), ruler(Words(), text))] == [8] * 10
    assert ruler(object(), text) == Ruler(SIZE, None)
