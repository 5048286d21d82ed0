"""Models too small to be any good, made on the spot: real transformers models with a byte-level tokenizer and a chat template."""

import string

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + ']' }}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="session")
def tokenizer():
    """One token a byte, `<s>` and `</s>`; a post-processor is left out, so that a beginning comes from the template alone."""
    return make_tokenizer(TEMPLATE)


@pytest.fixture(scope="session")
def plain_tokenizer():
    """The same without a chat template."""
    return make_tokenizer(None)


def make_tokenizer(template):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: place for place, token in enumerate(["<s>", "</s>", *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", chat_template=template, model_max_length=256
    )


@pytest.fixture(scope="session")
def llama(tokenizer):
    """A random Llama that answers in printable ASCII; it never ends its turn by itself."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    return printable(LlamaForCausalLM(config), tokenizer)


@pytest.fixture(scope="session")
def gpt2(tokenizer):
    """A random GPT-2: absolute positions, where padding would show."""
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=1,
        initializer_range=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    return printable(GPT2LMHeadModel(config), tokenizer)


def printable(model, tokenizer):
    keep = set(tokenizer.convert_tokens_to_ids(list(string.ascii_letters + string.digits + ".,!?")))
    with torch.no_grad():
        for token in set(range(len(tokenizer))) - keep:
            model.lm_head.weight[token] = 0
    return model.eval()


@pytest.fixture(scope="session")
def folder(tmp_path_factory, llama, tokenizer):
    """The Llama, saved."""
    return save(tmp_path_factory.mktemp("llama"), llama, tokenizer)


def save(path, model, tokenizer):
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def calls(monkeypatch):
    """Return a function that begins to note how many requests each of a model's engine calls holds."""

    def watch(llm):
        engine, sizes = llm.engine, []
        real = engine.submit
        monkeypatch.setattr(
            engine, "submit", lambda requests, **kwargs: sizes.append(len(requests)) or real(requests, **kwargs)
        )
        return sizes

    return watch
