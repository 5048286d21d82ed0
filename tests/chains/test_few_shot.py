"""Few-shot prompts: how many examples, in what order, and what is refused."""

import pytest

from chains.errors import UsageError
from chains.few_shot import FewShot

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
