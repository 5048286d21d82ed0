"""Agent: tools are called with what the model asked for, their errors come back to it, and every step is recorded."""

import asyncio

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.tools import tool as as_tool
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from chains import runs
from chains.agent import Agent, ToolUse
from chains.chatbot import Chatbot
from chains.errors import ModelError, UsageError
from chains.models.fake import FakeChat
from chains.models.local_chat import LocalChat
from tests import families


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail(what: str) -> str:
    """Fail."""
    raise ValueError(f"no {what} here")


def test_a_tool_is_called_and_its_result_goes_to_the_model(scripted):
    llm = scripted([[("add", {"a": 2, "b": 3})], "It is 5."])
    made = Agent(llm, [add], system="Use tools.").invoke("2 + 3?")
    assert made == {"question": "2 + 3?", "answer": "It is 5.", "calls": [ToolUse("add", {"a": 2, "b": 3}, "5", None)]}
    assert llm.offered[0] == ["add"]
    assert [(m.type, m.text) for m in llm.asked[1]] == [
        ("system", "Use tools."),
        ("human", "2 + 3?"),
        ("ai", ""),
        ("tool", "5"),
    ]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("fail", {"what": "tea"}), "no tea here"),  # the tool raises
        (("add", {"a": "two", "b": 3}), "a"),  # arguments of the wrong kind
        (("ad", {"a": 2, "b": 3}), "add"),  # no such tool
    ],
)
def test_a_tools_error_goes_back_to_the_model(call, told, scripted):
    llm = scripted([[call], "Sorry."])
    made = Agent(llm, [add, fail]).invoke("x")
    assert made["answer"] == "Sorry."
    assert made["calls"][0].result is None
    assert told in made["calls"][0].error
    assert told in llm.asked[1][-1].text
    assert asyncio.run(Agent(scripted([[call], "Sorry."]), [add, fail]).ainvoke("x"))["calls"] == made["calls"]


def test_steps_are_limited(scripted):
    ran = []

    @tool
    def count(n: int) -> int:
        """Count."""
        ran.append(n)
        return n

    again = scripted([[("count", {"n": 1})]])
    with pytest.raises(ModelError, match=r"no answer after 3 steps, and the model still wants count\({'n': 1}\)"):
        Agent(again, [count], max_steps=3).run("x")
    assert len(ran) == 2  # what the last step wanted is not done
    with pytest.raises(ModelError, match="no answer after 1 steps"):
        asyncio.run(Agent(scripted([[("count", {"n": 1})]]), [count], max_steps=1).ainvoke("x"))
    assert len(ran) == 2
    assert len(again.asked) == 3
    assert (
        Agent(scripted([[("add", {"a": 1, "b": 1})], [("add", {"a": 2, "b": 2})], "4"]), [add], max_steps=3).run("x")
        == "4"
    )
    with pytest.raises(UsageError, match="max_steps=0"):
        Agent(again, [add], max_steps=0)


def test_every_step_is_recorded_under_the_agent(scripted):
    Agent(scripted([[("add", {"a": 2, "b": 3}), ("fail", {"what": "x"})], "5"]), [add, fail]).run("2 + 3?")
    (run,) = runs.recent()
    steps = runs.get(run.id).steps
    assert sorted(step.name for step in steps) == ["add", "fail", "model", "model"]
    by_name = {step.name: step for step in steps}
    assert by_name["add"].inputs == {"a": 2, "b": 3}
    assert "ValueError: no x here" in by_name["fail"].error
    last = steps[-1]
    assert last.answer == "5"
    assert [row["role"] for row in last.messages] == ["user", "assistant", "tool", "tool"]
    assert last.messages[1]["tool_calls"][0]["function"]["name"] == "add"
    assert run.usage["total_tokens"] == 24
    assert run.output["calls"][0]["result"] == "5"


def test_history_stream_batch_and_async(scripted):
    script = [[("add", {"a": 2, "b": 3})], "5"]
    agent = Agent(scripted(script), [add])
    made = agent.invoke({"question": "x", "history": [HumanMessage("hi"), AIMessage("hello")]})
    assert len(made["calls"]) == 1
    assert [list(chunk) for chunk in agent.stream("x")] == [["question", "calls"], ["answer", "calls"]]
    assert agent.batch(["a"])[0]["answer"] == "5"
    assert asyncio.run(agent.ainvoke("x"))["answer"] == "5"

    async def streamed():
        return [chunk.get("answer") async for chunk in agent.astream("x")]

    assert asyncio.run(streamed()) == [None, "5"]


def test_an_async_tool_is_awaited(scripted):
    @tool
    async def later(x: int) -> str:
        """Wait."""
        await asyncio.sleep(0)
        return str(x + 1)

    agent = Agent(scripted([[("later", {"x": 1})], "2"]), [later])
    assert asyncio.run(agent.ainvoke("x"))["calls"][0].result == "2"


def test_what_cannot_be_a_tool_or_call_one_is_refused_when_built(scripted, model):
    def bare(x):
        return x

    with pytest.raises(UsageError, match="bare cannot be a tool"):
        Agent(scripted(["x"]), [bare])
    with pytest.raises(UsageError, match="3 is no tool"):
        Agent(scripted(["x"]), [3])
    with pytest.raises(UsageError, match="RuleModel takes no tools"):
        Agent(model(), [add])
    with pytest.raises(UsageError, match="Agent takes no temperature"):
        Agent(scripted(["x"]), [add]).invoke("x", temperature=0.5)


def test_without_tools_it_answers():
    assert Agent(FakeChat(["hello"]), []).run("hi") == "hello"


@pytest.fixture(scope="module")
def calculator():
    """A small local model that was taught two answers by heart: to call `add`, and to say what came back."""
    torch.manual_seed(0)
    tok = families.tokenizer("qwen")
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    end = tok.convert_tokens_to_ids("<|im_end|>")
    network = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tok), max_position_embeddings=2048, eos_token_id=end, pad_token_id=0, **size)
    )
    llm = LocalChat(network, tok, temperature=0, max_tokens=120)
    asked = [HumanMessage("2 + 3?")]
    call = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 2, "b": 3}, "id": "1"}])
    came = ToolMessage("5", tool_call_id="1", name="add")
    says = [
        (asked, '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 3}}\n</tool_call><|im_end|>'),
        ([*asked, call, came], "It is 5.<|im_end|>"),
    ]
    rows = []
    for messages, text in says:
        prompt = llm.bind_tools([as_tool(add)]).show(messages).token_ids
        rows.append((prompt, tok.encode(text, add_special_tokens=False)))
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.tensor([p + a + [0] * (width - len(p) - len(a)) for p, a in rows])
    labels = torch.tensor([[-100] * len(p) + a + [-100] * (width - len(p) - len(a)) for p, a in rows])
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=80)
    for _ in range(80):
        logits = network(input_ids=ids).logits[:, :-1]
        loss = sum(cross_entropy(said, wanted[1:]) for said, wanted in zip(logits, labels, strict=True))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()
    return llm


def test_a_local_model_calls_a_tool_and_answers_from_it(calculator):
    made = Agent(calculator, [add]).invoke("2 + 3?")
    assert made["calls"] == [ToolUse("add", {"a": 2, "b": 3}, "5", None)]
    assert made["answer"] == "It is 5."
    steps = runs.get(runs.recent(1)[0].id).steps
    assert [step.name for step in steps] == ["model", "add", "model"]
    assert asyncio.run(Agent(calculator, [add]).ainvoke("2 + 3?"))["answer"] == "It is 5."
    assert Chatbot(calculator, tools=[add]).ask("2 + 3?").calls[0].result == "5"
