"""A batch through a sequence: each input goes on when it is ready, and what comes out is what single calls give."""

import asyncio
import time

import pytest

from chains import LLMChain, LocalChat, SequentialChain, SimpleSequentialChain, UsageError, runs
from chains.models.fake import FakeChat
from tests.chains.models.conftest import TEMPLATE, make_tokenizer


class Held(FakeChat):
    """Keeps the prompt 'slow' waiting until another input has reached the second step."""

    lanes: int = 2

    async def areplies(self, prompts, given):
        if prompts[0][0].text == "slow":
            async with asyncio.timeout(10):
                while not any("second" in prompt[0].text for prompt in self.prompts):
                    await asyncio.sleep(0.01)
        return await super().areplies(prompts, given)


def two_steps(llm):
    first = LLMChain(llm=llm, prompt="{x}", output_key="a")
    second = LLMChain(llm=llm, prompt="second {a}", output_key="b")
    return SequentialChain(chains=[first, second], input_variables=["x"])


both = pytest.mark.parametrize("form", ["batch", "abatch"])


def run(form, chain, inputs, **kwargs):
    return chain.batch(inputs, **kwargs) if form == "batch" else asyncio.run(chain.abatch(inputs, **kwargs))


@both
def test_an_input_does_not_wait_for_the_slowest(form):
    made = run(form, two_steps(Held(["yes"])), ["slow", "fast"])
    assert [one["x"] for one in made] == ["slow", "fast"]
    assert [[step.name for step in run.steps] for run in map(runs.get, (run.id for run in runs.recent()))] == [
        ["a", "b"]
    ] * 2


@pytest.fixture(scope="module")
def llm():
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(TEMPLATE)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    return LocalChat(LlamaForCausalLM(config).eval(), tokenizer, temperature=0, max_tokens=8)


@both
def test_a_local_batch_equals_single_calls(form, llm):
    inputs = ["tea", "rain", "a walk", "snow"]
    chains = [two_steps(llm), SimpleSequentialChain(chains=[LLMChain(llm=llm, prompt="{x}"), str.upper])]
    for chain in chains:
        assert run(form, chain, inputs) == [chain.invoke(one) for one in inputs]


@both
def test_an_input_that_fails_leaves_the_others(form, llm):
    good, bad = run(form, two_steps(llm), ["tea", "x" * 300], return_exceptions=True)
    assert good["b"]
    assert isinstance(bad, UsageError) and str(bad).startswith("step 1 'a': the prompt is")


def test_runs_off_holds_for_every_input(llm):
    with runs.off():
        two_steps(llm).batch(["tea", "rain"])
    assert runs.recent() == []


def test_an_interrupt_ends_the_batch_at_once(llm, monkeypatch):
    from concurrent.futures import Future

    chain = two_steps(llm.model_copy(update={"max_tokens": 200}))
    slow, real = llm.engine._runner.run, Future.result
    monkeypatch.setattr(llm.engine._runner, "run", lambda *given: time.sleep(0.05) or slow(*given))

    def interrupted(self, timeout=None):
        monkeypatch.setattr(Future, "result", real)
        time.sleep(0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        chain.batch(["tea", "rain"])
    assert time.monotonic() - started < 5
    assert [run.error.split(":")[0] for run in runs.recent()] == ["CancelledError"] * 2
