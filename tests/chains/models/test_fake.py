"""The scripted model answers in turn, in whatever form it is called, and keeps what it was asked."""

import asyncio
import time

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, SystemMessage

from chains import UsageError
from chains.models.fake import FakeChat


def test_it_answers_in_turn_and_then_again():
    llm = FakeChat(["one", "two"])
    assert [llm.invoke("x").text for _ in range(3)] == ["one", "two", "one"]


class SlowForTheFirst(BaseCallbackHandler):
    def on_chat_model_start(self, serialized, messages, **kwargs):
        time.sleep(0.05 if messages[0][0].text == "1" else 0)


def test_a_batch_is_answered_in_the_order_of_its_inputs():
    answers, config = ["a", "b", "c"], {"callbacks": [SlowForTheFirst()]}
    assert [message.text for message in FakeChat(answers).batch(list("123"), config)] == answers
    assert [message.text for message in asyncio.run(FakeChat(answers).abatch(list("123"), config))] == answers


def test_it_keeps_what_it_was_asked():
    llm = FakeChat(["yes"])
    llm.invoke([SystemMessage("Be kind."), HumanMessage("hi")])
    list(llm.stream("again"))
    assert [[message.text for message in prompt] for prompt in llm.prompts] == [["Be kind.", "hi"], ["again"]]


def test_it_streams_by_word():
    chunks = list(FakeChat(["tea is  warm\n"]).stream("x"))
    assert [chunk.text for chunk in chunks] == ["tea", " is", "  warm", "\n", ""]
    assert chunks[-1].usage_metadata["output_tokens"] == 4


def test_it_counts_words_and_says_how_it_ended():
    answer = FakeChat(["tea is warm"]).invoke("what is tea?")
    assert answer.usage_metadata == {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}
    assert answer.response_metadata == {"finish_reason": "stop", "model_name": "fake"}


def test_it_ends_at_a_stop_text_and_at_max_tokens():
    llm = FakeChat(["one two. three four"])
    assert llm.invoke("x", stop=[".", "w"]).text == "one t"
    cut = llm.invoke("x", max_tokens=2)
    assert (cut.text, cut.response_metadata["finish_reason"]) == ("one two.", "length")
    assert llm.bind(stop=["three"]).invoke("x").text == "one two. "
    assert FakeChat(["one two"], max_tokens=1).invoke("x").text == "one"


def test_it_is_as_strict_as_a_real_one():
    llm = FakeChat(["yes"])
    with pytest.raises(UsageError, match=r"FakeChat has no parameter 'max_new_tokens'.*did you mean 'max_tokens'"):
        llm.invoke("x", max_new_tokens=3)
    with pytest.raises(UsageError, match="temperature=-1 cannot be used"):
        FakeChat(["yes"], temperature=-1)
    with pytest.raises(UsageError, match="did you mean 'seed'"):
        FakeChat(["yes"], sed=1)


def test_an_empty_script_is_refused():
    with pytest.raises(UsageError, match="the script is empty"):
        FakeChat([])
    with pytest.raises(UsageError, match=r"answers.1=3 cannot be used"):
        FakeChat(["a", 3])


@pytest.mark.parametrize("changed", [{"temperature": 0.1}, {"seed": 4}, {"max_tokens": 3}])
def test_a_cache_keeps_the_answers_of_other_settings_apart(changed):
    from langchain_core.caches import InMemoryCache

    cache = InMemoryCache()
    first, other = FakeChat(["one"], cache=cache), FakeChat(["one"], cache=cache, **changed)
    first.invoke("y")
    other.invoke("y")
    assert (len(first.prompts), len(other.prompts)) == (1, 1)  # the other was asked itself
