"""Prompts: which braces are variables, what values can do, and what is said when one is missing."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

from chains.errors import UsageError
from chains.prompt import Prompt


@pytest.mark.parametrize(
    ("template", "variables"),
    [
        ("Describe {city} in {style}, {city}!", ["city", "style"]),
        ('{"mood": "happy", "why": {reason}}', ["reason"]),  # JSON around a variable
        ('{"a": {"b": [1, {"c": {}}]}}', []),  # nested and empty groups
        ("{0} {a.b} {a[0]} {a!r} {a:>10} { a }", []),  # what str.format would read, and look into objects with
        ("{도시}에서 {이름1}", ["도시", "이름1"]),  # an identifier need not be English
        ("if (x) {return y;}", []),  # code
        ("unclosed {name and } alone", []),
    ],
)
def test_only_identifier_groups_are_variables(template, variables):
    assert Prompt(template).input_variables == variables


def test_other_braces_are_kept_as_they_are():
    assert Prompt('{"mood": ..., "n": {{}}} {x} {a.b}').format(x=1) == '{"mood": ..., "n": {{}}} 1 {a.b}'


def test_doubled_braces_write_a_literal_name():
    prompt = Prompt("{{name}} is {name}")
    assert prompt.input_variables == ["name"]
    assert prompt.format(name="Ana") == "{name} is Ana"


def test_braces_in_a_value_are_not_read_again():
    assert Prompt("{a} {b}").format(a="{b} {{b}} {a.__class__}", b="B") == "{b} {{b}} {a.__class__} B"


def test_a_missing_variable_is_named_with_what_was_given():
    with pytest.raises(UsageError, match=r"needs 'city'; given: citty, style; is 'citty' meant to be 'city'\?"):
        Prompt("{city} {style}").format(citty="Paris", style="plain")
    with pytest.raises(UsageError, match=r"needs 'city'; given: nothing$"):
        Prompt("{city}").invoke({})


def test_a_text_is_a_text_for_any_model():
    value = Prompt("Hi {name}").invoke({"name": "Ana"})
    assert isinstance(value, StringPromptValue)
    assert value.to_string() == "Hi Ana"


def test_a_bare_value_fills_the_only_variable():
    assert Prompt("Hi {name}").invoke("Ana").to_string() == "Hi Ana"
    with pytest.raises(UsageError, match="a, b"):
        Prompt("{a}{b}").invoke("x")


def test_chat_puts_the_history_between_system_and_user():
    prompt = Prompt.chat(system='Reply as {"mood": ...} to {name}', history="past", user="{question}")
    assert prompt.input_variables == ["name", "question"]
    past = [HumanMessage("hello"), AIMessage("hi")]
    value = prompt.invoke({"name": "Ana", "question": "why {past}?", "past": past})
    assert isinstance(value, ChatPromptValue)
    assert value.messages == [SystemMessage('Reply as {"mood": ...} to Ana'), *past, HumanMessage("why {past}?")]


def test_the_history_may_be_left_out():
    assert Prompt.chat(history="past", user="{q}").invoke("why?").to_messages() == [HumanMessage("why?")]


def test_partial_fills_some_and_keeps_the_rest():
    prompt = Prompt("{a} {b}").partial(a="{b}!")
    assert prompt.input_variables == ["b"]
    assert prompt.format(b="2") == "{b}! 2"
    with pytest.raises(UsageError, match="no 'aa'; its variables: a, b; did you mean 'a'"):
        Prompt("{a} {b}").partial(aa="1")


def test_a_prompt_goes_into_a_pipe(model):
    llm = model(lambda text: text.upper())
    assert (Prompt('{"x": 1} {word}') | llm | StrOutputParser()).invoke({"word": "tea"}) == '{"X": 1} TEA'


def test_what_is_no_text_is_refused():
    with pytest.raises(UsageError, match="not list"):
        Prompt(["a"])


def test_a_value_that_nothing_uses_is_named_with_the_near_one():
    with pytest.raises(UsageError, match="does not use 'stile'; its variables: city, style; did you mean 'style'"):
        Prompt("{city} {style}").format(city="Paris", style="plain", stile="x")
    with pytest.raises(UsageError, match="does not use 'city'; its variables: none"):
        Prompt("Hello").format(city="Paris")
    assert Prompt("{a} {b}").partial(a="1").format(a="2", b="3") == "2 3"  # what partial filled may be given anew


def test_in_a_pipe_the_values_of_other_steps_pass_by():
    assert Prompt("{city}").invoke({"city": "Paris", "style": "plain"}).to_string() == "Paris"
