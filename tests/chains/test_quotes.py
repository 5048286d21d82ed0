"""Quotes that a local model copies: whatever its weights, they are the source's own words at the place they name."""

import pytest
from langchain_core.documents import Document

from chains import runs
from chains.citations import Citation, support
from chains.errors import UsageError
from chains.models.constraint import Compiler, Constraint
from chains.retrieval_chain import RetrievalChain
from tests import tiny

TEXTS = {
    "tea.md": "# 찻집\n\n찻집은 \"아홉\" 시에 연다. 여섯 시에 닫는다.\n\n'{x}' % \\d+ <end>\n",
    "pool.md": "The pool opens at nine. It closes at six, except on Fridays.",
}
QUESTIONS = ("언제 여나요?", "When does the pool open?", "why?", "누가요?")


def passages(cut=3):
    """Return a part of each text, from the character `cut` on."""
    return [
        Document(text[cut:], metadata={"source": name, "start": cut, "end": len(text), "page": 4})
        for name, text in TEXTS.items()
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_a_random_model_copies_stands_in_the_source(shelf, local, seed):
    chain = RetrievalChain(llm=local(1024, seed=seed), retriever=shelf(*passages()), quotes="decoded")
    quoted = [
        quote for made in chain.batch([{"question": question} for question in QUESTIONS]) for quote in made["citations"]
    ]
    assert quoted
    for quote in quoted:
        assert quote.quote.strip() and TEXTS[quote.source][quote.start : quote.end] == quote.quote and quote.page == 4


def follows(constraint: Constraint, text: str) -> bool:
    """Return whether `text` is allowed as a whole."""
    words = tiny.words()
    matcher = Compiler(words, len(words), {words.eos_token_id}).matcher(constraint)
    for token in words.encode(text, add_special_tokens=False):
        if not matcher.allowed()[token]:
            return False
        matcher.take(token)
    return bool(matcher.allowed()[words.eos_token_id])


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("The pool opens", True),
        ("opens at nine. It closes", True),
        ("", True),
        ('"아홉" 시에', True),
        ("'{x}' % \\d+ <end>", True),
        ("The pool closes", False),  # both words stand there, but not so
        ("아홉 시에", False),
        ("he poo", False),  # words are whole
        ("Fridays.# 찻집", False),  # from one text to the next
    ],
)
def test_a_quote_is_a_run_of_words_of_one_text(text, allowed):
    assert follows(Constraint.quote(TEXTS.values()), text) is allowed


def test_nothing_to_quote_from_is_refused():
    with pytest.raises(UsageError, match="there is nothing to quote from"):
        Constraint.quote(["", ""])


def test_a_model_that_cannot_be_held_has_its_quotes_matched(model, shelf):
    llm = model("It opens at nine.")
    made = RetrievalChain(llm=llm, retriever=shelf(*passages(0)), quotes="decoded").invoke("When does the pool open?")
    assert [quote.quote for quote in made["citations"]] == ["The pool opens at nine."]
    assert len(llm.asked) == 1


def test_a_way_of_quoting_that_is_none_is_refused(model, shelf):
    with pytest.raises(UsageError, match=r"quotes is 'decode'; use 'matched' or 'decoded'; did you mean 'decoded'"):
        RetrievalChain(llm=model(), retriever=shelf(), quotes="decode")


def test_support_is_the_share_of_the_answer_that_the_quotes_hold():
    """The answer's pairs: ab bc, xy; the quote has ab and bc."""
    quote = Citation("s", 0, 3, "abc", None, None, 1.0)
    assert support("abc xy", [quote]) == pytest.approx(2 / 3)
    assert support("abc xy", []) == support("", [quote]) == 0.0


def test_an_answer_that_nothing_speaks_for_says_so(model, shelf):
    made = RetrievalChain(llm=model("Zzz qqq."), retriever=shelf(*passages())).invoke("Vvv?")
    assert (made["citations"], made["support"]) == ([], 0.0)


def test_a_copied_quote_is_streamed_and_recorded_beside_the_answer(shelf, local):
    chain = RetrievalChain(llm=local(1024, seed=1), retriever=shelf(*passages()), quotes="decoded")
    total = None
    for chunk in chain.stream("When does the pool open?"):
        total = chunk if total is None else total + chunk
    assert total == chain.invoke("When does the pool open?")
    assert [step.name for step in runs.get(runs.recent()[0].id).steps] == ["LLMChain", "LLMChain"]
