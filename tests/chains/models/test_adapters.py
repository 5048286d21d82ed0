"""A LoRA adapter is loaded over its base, and all adapters of one base share its weights."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from chains import LocalChat, UsageError
from chains.models import registry, weights
from tests import families


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base")
    tok = families.tokenizer("qwen")
    families.model(tok).save_pretrained(path)
    tok.save_pretrained(path)
    return path


def adapter(base, path, seed):
    """Save a random adapter of `base` that changes what it says."""
    torch.manual_seed(seed)
    made = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False),
    )
    for name, weight in made.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight.data, std=0.5)
    made.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def two(base, tmp_path_factory):
    return [adapter(base, tmp_path_factory.mktemp(f"adapter{seed}"), seed) for seed in (1, 2)]


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 6, 7, 8]])).logits


def loaded(path):
    return weights.load(weights.check_source(str(path)), "cpu", "float32")


def test_adapters_share_their_bases_weights_and_each_is_what_peft_makes_of_it(base, two):
    alone = logits(loaded(base).model)
    first, second = (loaded(path) for path in two)
    plain = loaded(base)
    assert first.model is second.model is plain.model
    assert first.adapter != second.adapter and plain.adapter is None
    for path, each in zip(two, (first, second), strict=True):
        reference = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), path).eval()
        each.model.set_adapter(each.adapter)
        torch.testing.assert_close(logits(each.model), logits(reference))
        assert not torch.allclose(logits(each.model), alone)
    with plain.model.disable_adapter():
        torch.testing.assert_close(logits(plain.model), alone)


def test_one_engine_serves_a_base_and_its_adapters(base, two):
    assert LocalChat(two[0]).engine is LocalChat(two[1]).engine is LocalChat(base).engine


def test_an_adapter_that_was_written_again_is_read_again(base, tmp_path):
    path = adapter(base, tmp_path / "a", 3)
    first = loaded(path)
    first.model.set_adapter(first.adapter)
    before = logits(first.model)
    adapter(base, path, 4)
    second = loaded(path)
    second.model.set_adapter(second.adapter)
    assert not torch.allclose(logits(second.model), before)
    assert first.adapter not in second.model.peft_config


def test_an_adapters_own_tokenizer_writes_its_prompts(base, tmp_path):
    path = adapter(base, tmp_path / "a", 3)
    tok = families.tokenizer("qwen")
    tok.chat_template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    tok.save_pretrained(path)
    assert LocalChat(path).show("hi").text == "<|im_start|>hi<|im_end|>"
    assert LocalChat(base).show("hi").text.startswith("<|im_start|>user")


def test_a_base_beside_the_adapter_is_found(base, tmp_path):
    path = adapter(base, tmp_path / "a", 3)
    config = json.loads((path / "adapter_config.json").read_text())
    (tmp_path / "a/base").symlink_to(base)
    (path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "base"}))
    assert loaded(path).model is loaded(base).model


def test_each_request_is_answered_with_its_adapter(base, two):
    def answer(path):
        return LocalChat(path, temperature=0, max_tokens=12).invoke("hi").text

    texts = [answer(path) for path in (base, *two)]
    assert len(set(texts)) == 3
    for path, text in zip(two, texts[1:], strict=True):
        merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), path).merge_and_unload()
        assert LocalChat(merged, families.tokenizer("qwen"), temperature=0, max_tokens=12).invoke("hi").text == text
    assert [answer(path) for path in (base, *two)] == texts


def test_a_registered_adapter_is_a_model(two):
    registry.add("mine", str(two[0]))
    assert LocalChat(registry.find("mine").source).show("hi").token_ids


def test_an_adapter_that_cannot_be_used_is_one_sentence(base, tmp_path):
    def broken(name, **config):
        path = adapter(base, tmp_path / name, 3)
        made = json.loads((path / "adapter_config.json").read_text())
        (path / "adapter_config.json").write_text(json.dumps({**made, **config}))
        return path

    pickled = broken("pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    for path, said in [
        (broken("gone", base_model_name_or_path="/no/such/folder"), "there is no folder /no/such/folder"),
        (broken("none", base_model_name_or_path=""), "names no base"),
        (broken("kind", peft_type="IA3"), "only LORA adapters"),
        (pickled, r"has no adapter_model\.safetensors"),
    ]:
        with pytest.raises(UsageError, match=said):
            LocalChat(path)
    before = logits(loaded(base).model)
    narrow = broken("narrow", r=2)
    for other in (
        broken("other", target_modules=["nowhere"]),
        broken("more", target_modules=["k_proj"]),
        narrow,
        narrow,
    ):
        with pytest.raises(UsageError, match="does not fit its base"):
            LocalChat(other).show("hi")
    torch.testing.assert_close(logits(loaded(base).model), before)


def test_an_adapter_that_is_loaded_meanwhile_leaves_answers_on_their_way_alone(base, two, tmp_path):
    """The adapters share modules, and loading one chooses it in all of them: no step of the engine may be under way then."""
    path = adapter(base, tmp_path / "late", 7)
    llm = LocalChat(two[0], temperature=0, max_tokens=40, ignore_ends=True)
    expected = llm.invoke("hi").text
    steps, loader = [], threading.Thread(target=lambda: LocalChat(path).show("hi"))

    def load_beside(*given):
        steps.append(given)
        if len(steps) == 10:
            loader.start()
        if len(steps) >= 10:
            loader.join(0.2)  # the loader has all the time it wants, while this step is under way

    layers = [module for name, module in llm.engine.model.named_modules() if name.endswith("layers.0")]
    hook = layers[0].register_forward_hook(load_beside)
    try:
        assert llm.invoke("hi").text == expected
    finally:
        hook.remove()
    loader.join()
    assert LocalChat(path, temperature=0, max_tokens=40, ignore_ends=True).invoke("hi").text != expected


def test_two_engines_of_one_base_do_not_change_each_others_adapter(two):
    """A LocalChat with another max_batch has an engine of its own, whose thread chooses in the same modules."""
    chats = [
        LocalChat(path, temperature=0, max_tokens=60, ignore_ends=True, max_batch=most)
        for path, most in zip(two, (3, 5), strict=True)
    ]
    expected = [llm.invoke("hi").text for llm in chats]
    assert chats[0].engine is not chats[1].engine and chats[0].engine.model is chats[1].engine.model
    layers = [module for name, module in chats[0].engine.model.named_modules() if name.endswith("layers.0")]
    hook = layers[0].register_forward_hook(lambda *_: time.sleep(0.002))  # each has time to come between
    try:
        with ThreadPoolExecutor() as pool:
            assert list(pool.map(lambda llm: llm.invoke("hi").text, chats)) == expected
    finally:
        hook.remove()
