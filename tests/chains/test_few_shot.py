"""Few-shot prompts: how many examples, in what order, and what is refused."""

import pytest
from langchain_core.example_selectors.base import BaseExampleSelector

from chains.bigrams import Bigrams
from chains.errors import UsageError
from chains.few_shot import FewShot
from chains.task_forms import answering, tldr, translation

WORDS = [{"word": "hot", "opposite": "cold"}, {"word": "up", "opposite": "down"}, {"word": "{odd}", "opposite": "even"}]


def shot(**settings):
    return FewShot(WORDS, "{word} -> {opposite}", prefix="Opposites, like {style}.", suffix="{word} ->", **settings)


def test_examples_stand_between_prefix_and_suffix_apart_by_a_blank_line():
    text = shot().format(style="a poet", word="big")
    assert text == "Opposites, like a poet.\n\nhot -> cold\n\nup -> down\n\n{odd} -> even\n\nbig ->"


@pytest.mark.parametrize(
    ("shots", "text"),
    [
        (0, "Opposites, like x.\nbig ->"),  # zero-shot: no example, no empty line for it
        (1, "Opposites, like x.\nhot -> cold\nbig ->"),
        (2, "Opposites, like x.\nhot -> cold\nup -> down\nbig ->"),
    ],
)
def test_shots_takes_the_first_examples(shots, text):
    assert shot(shots=shots, separator="\n").format(style="x", word="big") == text


def test_braces_of_an_example_are_text():
    assert shot().input_variables == ["style", "word"]


def test_a_missing_prefix_leaves_no_gap():
    assert FewShot(WORDS[:1], "{word}-{opposite}", suffix="{x}").format(x="?") == "hot-cold\n\n?"


@pytest.mark.parametrize("shots", [4, -1])
def test_too_many_shots_are_refused(shots):
    with pytest.raises(UsageError, match="there are 3 examples, so give 0 to 3"):
        shot(shots=shots)


def test_an_example_without_a_field_is_named():
    with pytest.raises(
        UsageError,
        match="example 2 has no 'opposite', which the template asks for; it has: word, oposite; did you mean 'oposite'",
    ):
        FewShot([WORDS[0], {"word": "up", "oposite": "down"}], "{word} -> {opposite}", suffix="{word}")


def test_it_asks_a_model(model):
    llm = model(lambda text: text.splitlines()[-1])
    assert (shot(shots=1) | llm).invoke({"style": "x", "word": "big"}).text == "big ->"


TALK = [
    {"question": "Where can I buy fresh bread?", "answer": "bakery"},
    {"question": "Where can I buy bread rolls?", "answer": "bakery again"},
    {"question": "How do I repair a flat tyre?", "answer": "garage"},
    {"question": "When does the library close?", "answer": "library"},
]
QUESTION = "Who sells bread here?"


def chosen(prompt, question=QUESTION):
    """The answers of the examples that were shown, in order."""
    return [
        line.removeprefix("A: ") for line in prompt.format(question=question).splitlines() if line.startswith("A: ")
    ]


def talk(examples=TALK, **settings):
    return FewShot(examples, "Q: {question}\nA: {answer}", suffix="Q: {question}\nA:", **settings)


def test_the_most_alike_examples_are_chosen_the_most_alike_last():
    assert set(chosen(talk(select="similar", shots=2))) == {"bakery", "bakery again"}
    assert chosen(talk(select="similar", shots=1), "My tyre is flat")[-1] == "garage"
    assert len(chosen(talk(select="similar"))) == 4


def test_mmr_does_not_choose_the_same_thing_twice():
    twins = [{"question": "Where can I buy bread?", "answer": answer} for answer in ("one", "two")] + TALK[2:]
    assert len({"one", "two"} & set(chosen(talk(twins, select="similar", shots=2)))) == 2
    assert len({"one", "two"} & set(chosen(talk(twins, select="mmr", shots=2)))) == 1


def test_korean_examples_are_compared_by_their_characters():
    examples = [
        {"question": "책은 며칠 동안 빌리나요?", "answer": "대출"},
        {"question": "화장실은 어디에 있나요?", "answer": "화장실"},
        {"question": "몇 시에 문을 닫나요?", "answer": "시간"},
    ]
    prompt = talk(examples, select="similar", shots=1)
    assert chosen(prompt, "책을 빌리려고 해요") == ["대출"]
    assert chosen(prompt, "화장실 위치") == ["화장실"]


def test_examples_that_fit_a_length_are_shown():
    assert chosen(talk(select="length", length=21)) == ["bakery"]  # 8 words each (the second 9), and 6 of the question
    assert chosen(talk(select="length", length=5)) == []
    assert len(chosen(talk(select="length", length=1000, count=len))) == 4


def test_a_langchain_selector_is_taken_as_it_is():
    class Odd(BaseExampleSelector):
        def add_example(self, example):
            raise NotImplementedError

        def select_examples(self, given):
            return [{"question": given["question"][::-1], "answer": "odd"}]

    assert talk(select=Odd()).format(question="abc").startswith("Q: cba\nA: odd")


def test_zero_one_and_more_shots_are_one_prompt():
    prompt = talk()
    assert [len(chosen(prompt.with_shots(n))) for n in (0, 1, 3, None)] == [0, 1, 3, 4]
    similar = talk(select="similar", shots=1)
    assert [len(chosen(similar.with_shots(n))) for n in (1, 2, 0)] == [1, 2, 0]
    with pytest.raises(UsageError, match="there are 4 examples"):
        prompt.with_shots(5)


def test_ways_of_choosing_that_cannot_work_are_refused():
    with pytest.raises(
        UsageError, match="select='simlar' is unknown; use 'similar', 'mmr', 'length'; did you mean 'similar'"
    ):
        talk(select="simlar")
    with pytest.raises(UsageError, match="go together"):
        talk(select="length")
    with pytest.raises(UsageError, match="go together"):
        talk(length=3)
    with pytest.raises(UsageError, match="embeddings are for"):
        talk(embeddings=Bigrams())
    with pytest.raises(UsageError, match="none is both; the prompt has ask, the examples question, answer"):
        FewShot(TALK, "{question}{answer}", suffix="{ask}", select="similar")


def test_gpt2s_forms_of_tasks():
    assert tldr().format(text="Long {x}.") == "Long {x}.\nTL;DR:"
    pairs = [("good day", "guten Tag"), ("one", "eins")]
    assert translation(pairs).format(source="two") == "good day = guten Tag\none = eins\ntwo ="
    assert translation(pairs, shots=1).format(source="two") == "good day = guten Tag\ntwo ="
    assert answering([("Who?", "Ana.")]).format(text="Ana came at two.", question="When?") == (
        "Ana came at two.\nQ: Who?\nA: Ana.\nQ: When?\nA:"
    )
    assert answering().format(text="T", question="Q") == "T\nQ: Q\nA:"
