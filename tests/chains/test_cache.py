"""SampledCache: what hits, what does not, and that samples stay samples."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.outputs import Generation
from langchain_openai import ChatOpenAI

from chains.cache import SampledCache, is_certain
from chains.errors import MachineError, UsageError
from chains.models.fake import FakeChat
from chains.models.load import load_model
from chains.self_consistency import SelfConsistency
from tests import tiny


@pytest.fixture
def kept(tmp_path):
    """A cache in the slot, and a maker of another one on the same file, as a program that is run again has."""

    def again(**settings):
        set_llm_cache(cache := SampledCache(tmp_path / "cache.db", **settings))
        return cache

    again()
    yield again
    set_llm_cache(None)


class Sampling(FakeChat):
    """A scripted model that tells LangChain how it samples, as LocalChat does."""

    @property
    def _identifying_params(self):
        return {"temperature": self.temperature, "seed": self.seed}


def said(llm, times=3, **settings):
    return [llm.invoke("x", **settings).text for _ in range(times)]


def test_samples_are_samples_and_come_again_in_another_run(kept):
    first = Sampling(["A", "B", "C", "D"])
    assert said(first) == ["A", "B", "C"]
    kept()
    again = Sampling(["new"])
    assert said(again, 4) == ["A", "B", "C", "new"]
    assert len(again.prompts) == 1


@pytest.mark.parametrize("certain", [{"temperature": 0}, {"seed": 7}])
def test_what_is_the_same_every_time_hits(kept, certain):
    for llm, settings in ((Sampling(["A", "B"], **certain), {}), (Sampling(["C", "D"]), certain)):
        answers = said(llm, **settings)
        assert len(set(answers)) == 1 and len(llm.prompts) <= 1


def test_another_seed_or_prompt_is_another_answer(kept):
    llm = Sampling(["A", "B", "C"])
    assert [llm.invoke("x", seed=seed).text for seed in (1, 2, 1)] == ["A", "B", "A"]
    assert llm.invoke("y", seed=1).text == "C"


def test_a_bound_temperature_above_nothing_samples(kept):
    llm = Sampling(["A", "B"], temperature=0)
    assert said(llm.bind(temperature=0.5), 2) == ["A", "B"]


@pytest.mark.parametrize(
    ("llm_string", "certain"),
    [
        ("[('seed', None), ('stop', None), ('temperature', 0.7)]", False),
        ("[('seed', 3), ('temperature', 0.7)]", True),
        ("[('temperature', 0.0)]", True),
        ("[('constraint', <object>), ('seed', 4), ('temperature', 1.0)]", True),  # a value that is no literal
        ("[('constraint', <object>), ('seed', None), ('temperature', 1.0)]", False),
        ("[('model_name', 'x')]", False),
        ('{"kwargs": {"temperature": 0}}---[(\'stop\', None)]', True),
        ('{"kwargs": {"temperature": 0}}---[(\'temperature\', 0.9)]', False),  # the call's own wins
        ("{\"kwargs\": {}}---[('stop', None)]", False),  # the server's default
        ("nonsense", False),
    ],
)
def test_langchains_account_of_a_call_is_read(llm_string, certain):
    assert is_certain(llm_string) is certain


def test_a_local_model_by_name_is_cached(kept):
    tiny.starter()
    llm = load_model("starter", max_tokens=5, seed=3)
    first = llm.invoke("sky")
    calls = []
    llm.engine.outcomes = lambda requests: calls.append(requests) or (_ for _ in ()).throw(AssertionError("asked"))
    assert llm.invoke("sky").text == first.text
    assert not calls


def test_an_openai_model_is_cached_and_a_vote_is_not_unanimous_by_cache(kept):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(1)
            message = {"role": "assistant", "content": f"answer {len(asked)}"}
            body = {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args):
            pass

    asked = []
    web = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        llm = ChatOpenAI(model="m", base_url=f"http://127.0.0.1:{web.server_port}/v1", api_key="k", temperature=0.8)
        outcome = SelfConsistency(llm, n=3).invoke("q")["outcome"]
        assert sorted(c.text for c in outcome.candidates) == ["answer 1", "answer 2", "answer 3"]
        assert llm.invoke("q", temperature=0).text == llm.invoke("q", temperature=0).text == "answer 4"
    finally:
        web.shutdown()
        web.server_close()


def test_the_message_comes_back_whole(kept):
    llm = Sampling(["A b"], seed=1)
    first, again = llm.invoke("x"), llm.invoke("x")
    assert (again.content, again.response_metadata) == (first.content, first.response_metadata)
    assert again.usage_metadata["output_tokens"] == 2
    assert asyncio.run(llm.ainvoke("x")).content == "A b"
    assert len(llm.prompts) == 1


def test_it_is_bounded_and_the_least_recently_used_go(kept):
    kept(limit=2)
    llm = Sampling(["A", "B", "C", "D", "E"], seed=1)
    assert [llm.invoke(q).text for q in ("a", "b", "a", "c")] == ["A", "B", "A", "C"]  # c puts b out
    assert [llm.invoke(q).text for q in ("a", "c", "b")] == ["A", "C", "D"]


def test_two_programs_on_one_file_do_not_take_their_own_answers_for_new(tmp_path):
    one, two = SampledCache(tmp_path / "c.db"), SampledCache(tmp_path / "c.db")
    left, right = Sampling(["l1", "l2", "l3"], cache=one), Sampling(["r1", "r2"], cache=two)
    assert left.invoke("x").text == "l1"
    assert [answer.text for answer in (right.invoke("x"), right.invoke("x"))] == ["l1", "r1"]
    assert [left.invoke("x").text for _ in range(2)] == ["r1", "l2"]


def test_an_answer_kept_beside_anothers_is_not_ones_own_next_sample(tmp_path):
    one, two = SampledCache(tmp_path / "c.db"), SampledCache(tmp_path / "c.db")
    assert one.lookup("p", "m") is two.lookup("p", "m") is None
    two.update("p", "m", [Generation(text="two's")])
    one.update("p", "m", [Generation(text="one's")])
    assert one.lookup("p", "m") is None


def test_clear_forgets(kept):
    cache = kept()
    llm = Sampling(["A", "B"], seed=1)
    assert llm.invoke("x").text == "A"
    cache.clear()
    assert llm.invoke("x").text == "B"


def test_a_file_of_no_use_is_said(tmp_path):
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(MachineError, match=r"text cannot be used as a cache"):
        SampledCache(tmp_path / "text")
    with pytest.raises(UsageError, match="limit=0"):
        SampledCache(tmp_path / "c.db", limit=0)


def test_a_cache_that_fails_costs_no_answer(tmp_path):
    cache = SampledCache(tmp_path / "c.db")
    cache._connection().execute("DROP TABLE answers")
    with pytest.warns(RuntimeWarning, match="is not used"):
        assert Sampling(["A"], seed=1, cache=cache).invoke("x").text == "A"
