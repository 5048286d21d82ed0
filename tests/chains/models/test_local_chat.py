"""LocalChat generates what transformers itself would, with the settings of the call, and says how it ended."""

import asyncio
import json
import logging.handlers
import threading
from pathlib import Path

import pytest
import torch
from langchain_core.messages import AIMessage, HumanMessage
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from chains import LocalChat, MachineError, UsageError

STORIES = Path(__file__).parents[4] / "shared/data/models/stories260K"
PROMPTS = ["hi", "a rather longer question, to be padded around", "공이 나가면?"]


def reference(model, tokenizer, ids, n):
    """Return the text of transformers' own greedy generate."""
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=n, pad_token_id=0)  # fmt: skip
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_greedy_text_is_that_of_transformers_generate(kind, request, tokenizer):
    model = request.getfixturevalue(kind)
    llm = LocalChat(model, tokenizer, temperature=0, max_tokens=20)
    for prompt in PROMPTS:
        assert llm.invoke(prompt).text == reference(model, tokenizer, llm.show(prompt).token_ids, 20)


def test_the_story_model_tells_the_story_that_transformers_tells():
    if not STORIES.is_dir():
        pytest.skip("the 260K story model is not on this machine")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES), AutoTokenizer.from_pretrained(STORIES)
    llm = LocalChat(str(STORIES), temperature=0, max_tokens=80)
    opening = [HumanMessage("Tell me a story."), AIMessage("Once upon a time")]
    told = llm.invoke(opening).text
    assert told == reference(model, tokenizer, llm.show(opening).token_ids, 80)
    assert "little girl" in told


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_greedy_batch_is_the_same_as_one_by_one(kind, request, tokenizer):
    llm = LocalChat(request.getfixturevalue(kind), tokenizer, temperature=0, max_tokens=24)
    alone = [llm.invoke(prompt).text for prompt in PROMPTS]
    assert [message.text for message in llm.batch(PROMPTS)] == alone
    assert len(set(alone)) == 3


def test_a_seed_gives_the_same_answer_in_a_batch_as_alone(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=1, max_tokens=24)
    alone = llm.invoke(PROMPTS[0], seed=7).text
    assert llm.batch(PROMPTS, seed=7)[0].text == alone
    assert llm.invoke(PROMPTS[0], seed=8).text != alone


def test_the_settings_of_the_call_come_before_those_of_the_model(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=1, max_tokens=30)
    greedy = LocalChat(llama, tokenizer, temperature=0, max_tokens=4).invoke("hi").text
    assert llm.invoke("hi", temperature=0, max_tokens=4).text == greedy
    assert llm.bind(temperature=0, max_tokens=4).invoke("hi").text == greedy
    assert llm.invoke("hi", top_k=1, max_tokens=4).text == greedy
    assert llm.invoke("hi", top_p=1e-9, max_tokens=4).text == greedy
    assert llm.invoke("hi", temperature=0).usage_metadata["output_tokens"] == 30


def test_a_stop_text_that_lies_across_tokens_ends_the_answer_and_is_not_in_it(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=24)
    whole = llm.invoke("hi").text
    stop = whole[6:10]  # four tokens: every byte is one
    cut = whole[: whole.index(stop)]
    assert 0 < len(cut) < 24
    answer = llm.invoke("hi", stop=[stop, "never said"])
    assert (answer.text, answer.response_metadata["finish_reason"]) == (cut, "stop")
    assert "".join(chunk.text for chunk in llm.stream("hi", stop=[stop])) == cut
    assert [message.text for message in llm.batch(["hi", "hi"], stop=[stop])] == [cut, cut]
    assert LocalChat(llama, tokenizer, temperature=0, stop=stop).invoke("hi").text == cut


def test_an_answer_says_why_it_ended_how_long_it_is_and_who_gave_it(llama, tokenizer, monkeypatch):
    llm = LocalChat(llama, tokenizer, model_name="tiny", temperature=0, max_tokens=9)
    cut = llm.invoke("hi")
    prompt = 1 + len("[user]hi") + 1 + len("[assistant]")  # a token a byte, and one each for <s> and </s>
    assert cut.usage_metadata == {"input_tokens": prompt, "output_tokens": 9, "total_tokens": prompt + 9}
    assert cut.response_metadata == {"finish_reason": "length", "model_name": "tiny"}
    third = tokenizer.encode(cut.text, add_special_tokens=False)[2]
    monkeypatch.setattr(llama.generation_config, "eos_token_id", [1, third])
    ended = LocalChat(llama, tokenizer, temperature=0, max_tokens=9).invoke("hi")
    said = cut.text[: cut.text.index(tokenizer.decode([third]))]
    assert ended.text == said
    assert ended.response_metadata["finish_reason"] == "stop"
    assert ended.usage_metadata["output_tokens"] == len(said) + 1


def test_the_pieces_of_a_stream_make_up_the_answer(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=20)
    chunks = list(llm.stream("hi"))
    whole = llm.invoke("hi")
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) > 5
    assert [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata] == [whole.usage_metadata]
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.response_metadata == whole.response_metadata


async def everything(llm):
    streamed = [chunk.text async for chunk in llm.astream("hi")]
    many = await asyncio.gather(*(llm.ainvoke(prompt) for prompt in PROMPTS))
    return "".join(streamed), [message.text for message in many]


def test_the_async_forms_give_the_same(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=20)
    streamed, many = asyncio.run(everything(llm))
    assert many == [llm.invoke(prompt).text for prompt in PROMPTS]
    assert streamed == many[0]


@pytest.mark.parametrize("form", ["ainvoke", "abatch", "astream"])
def test_the_event_loop_goes_on_while_the_model_works(form, llama, tokenizer, monkeypatch):
    llm = LocalChat(llama, tokenizer, max_tokens=3)
    engine, from_loop = llm.engine, threading.Event()
    run = engine._runner.run
    monkeypatch.setattr(
        engine._runner, "run", lambda *given: (from_loop.wait(20) or pytest.fail("blocked")) and run(*given)
    )

    async def work():
        if form == "astream":
            return [chunk async for chunk in llm.astream("hi")]
        return await (llm.ainvoke("hi") if form == "ainvoke" else llm.abatch(["hi", "ho"]))

    async def both():
        asyncio.get_running_loop().call_later(0.05, from_loop.set)
        return await asyncio.wait_for(work(), 10)

    assert asyncio.run(both())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_new_tokens": 5}, "no parameter 'max_new_tokens'.*did you mean 'max_tokens'"),
        ({"stop_sequences": ["x"]}, "no parameter 'stop_sequences'.*did you mean 'stop'"),
        ({"num_return_sequences": 2}, "did you mean 'n'"),
        ({"do_sample": False}, "did you mean 'temperature'"),
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"n": 0}, "n=0 cannot be used"),
        ({"max_tokens": 0}, "max_tokens=0 cannot be used"),
        ({"max_tokens": "many"}, "max_tokens='many' cannot be used"),
        ({"temperature": -1}, "temperature=-1 cannot be used"),
        ({"top_p": 0}, "top_p=0 cannot be used"),
        ({"stop": [""]}, "stop.0='' cannot be used"),
        ({"top_logprobs": 3}, "top_logprobs=3 needs logprobs=True"),
        ({"min_q": 0.1}, "did you mean 'min_p'"),
        ({"presence_penalty": 3}, "presence_penalty=3 cannot be used"),
        ({"functions": []}, "functions is OpenAI's old form"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_before_the_model_loads(given, said, folder):
    llm = LocalChat(folder)
    for call in (llm.invoke, llm.bind, lambda *x, **kw: list(llm.stream("hi", **kw)), lambda *x, **kw: llm.batch(["a", "b"], **kw)):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            call(**given) if call == llm.bind else call("hi", **given)
    with pytest.raises(UsageError, match=said):
        LocalChat(folder, **given)
    assert llm._loaded is None


def test_a_constructor_argument_that_cannot_be_used_is_refused(folder, llama, tokenizer):
    for given, said in [
        ({"model": folder, "dtype": "int8"}, "dtype='int8' cannot be used"),
        ({"model": folder, "max_batch": 0}, "max_batch=0 cannot be used"),
        ({"model": folder, "tokenizer": tokenizer}, "tokenizer is for a model in memory"),
        ({"model": llama}, "with its tokenizer"),
        ({"model": 3, "tokenizer": tokenizer}, "model is a folder"),
        ({"model": llama, "tokenizer": tokenizer, "dtype": "bfloat16"}, "loaded from a folder"),
    ]:
        with pytest.raises(UsageError, match=said):
            LocalChat(**given)


def test_a_prompt_longer_than_the_context_names_both_numbers_and_spares_the_others(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=4)
    long = "x" * 300
    with pytest.raises(UsageError, match=r"the prompt is 319 tokens long and the model's context is 256"):
        llm.invoke(long)
    with pytest.raises(UsageError, match="319 tokens"):
        list(llm.stream(long))
    good, bad = llm.batch(["hi", long], return_exceptions=True)
    assert good.text == llm.invoke("hi").text
    assert isinstance(bad, UsageError)


def test_weights_in_memory_are_used_as_they_are_now(llama, tokenizer):
    llm = LocalChat(llama, tokenizer, temperature=0, max_tokens=8)
    before = llm.invoke("hi").text
    kept = llama.lm_head.weight.detach().clone()
    with torch.no_grad():
        llama.lm_head.weight.copy_(kept.flip(0))
    try:
        changed = llm.invoke("hi").text
    finally:
        with torch.no_grad():
            llama.lm_head.weight.copy_(kept)
    assert changed != before
    assert llm.invoke("hi").text == before


def test_a_folder_is_read_once_for_all_and_again_when_its_weights_change(tmp_path, llama, tokenizer):
    llama.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    first, second = LocalChat(tmp_path, temperature=0), LocalChat(str(tmp_path), max_tokens=3)
    assert first.engine is second.engine
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    assert LocalChat(tmp_path).engine is not first.engine


def test_loading_a_folder_and_a_prompt_that_is_too_long_print_nothing(tmp_path, gpt2, tokenizer, capfd):
    gpt2.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    capfd.readouterr()
    logged = logging.handlers.BufferingHandler(100)
    logging.getLogger("transformers").addHandler(logged)
    with pytest.raises(UsageError, match="tokens long"):
        LocalChat(tmp_path).invoke("x" * 400)
    LocalChat(tmp_path, max_tokens=2).invoke("hi")
    logging.getLogger("transformers").removeHandler(logged)
    assert capfd.readouterr() == ("", "")
    assert logged.buffer == []


def test_a_folder_that_is_no_chat_model_is_refused_at_once(tmp_path, folder):
    (tmp_path / "a_file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled/config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (tmp_path / "pickled/pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "scorer").mkdir()
    (tmp_path / "scorer/config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    for name, said in [
        ("missing", "there is no folder"),
        ("a_file", "is a file"),
        ("empty", "has no config.json"),
        ("pickled", r"has no \*.safetensors weights"),
        ("scorer", "reward model.*load_scorer"),
    ]:
        with pytest.raises(UsageError, match=said):
            LocalChat(tmp_path / name)


def test_a_hub_model_that_is_not_here_is_one_sentence():
    with pytest.raises(UsageError, match=r"there is no model 'nobody/nothing'.*hf download nobody/nothing"):
        LocalChat("nobody/nothing").invoke("hi")


def test_code_beside_the_weights_is_never_run(tmp_path, folder):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    marker = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="cannot load"):
        LocalChat(tmp_path).invoke("hi")
    assert not marker.exists()


def test_weights_that_are_not_whole_are_refused(tmp_path, folder):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MachineError, match=r"not whole: model.layers.1.mlp.up_proj.weight is missing"):
        LocalChat(tmp_path).invoke("hi")


def test_tokens_are_counted_with_the_models_own_tokenizer(llama, tokenizer):
    llm = LocalChat(llama, tokenizer)
    assert llm.get_num_tokens("공") == 3  # bytes
    assert llm.get_num_tokens_from_messages([HumanMessage("hi")]) == len(llm.show("hi").token_ids)
