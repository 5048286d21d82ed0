"""One server and one tiny model for the tests of a file."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chains.models import registry, weights
from tests import tiny
from tests.apps.server import live
from tuning import tokenizer

CONTEXT = 1024


def roomy(name="starter", seed=0):
    """Put a random model into the registry whose context holds tools, too."""
    words = tokenizer.train(tiny.TEXTS, 400, CONTEXT)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    meta = {"kind": "chat", "method": "pretrain", "parents": []}
    with registry.publish(name, meta) as folder, weights.quiet(bars=False):
        LlamaForCausalLM(config).save_pretrained(folder)
        words.save_pretrained(folder)


@pytest.fixture(scope="module")
def server_home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINTUNE_HOME", str(folder))
        roomy()
        yield folder


@pytest.fixture(autouse=True)
def same_home(server_home, home, monkeypatch):
    """All tests of a file see the home of its server."""
    monkeypatch.setenv("CHAINTUNE_HOME", str(server_home))


@pytest.fixture(scope="module")
def server(server_home):
    with live.serving(max_batch=8, max_waiting=8) as (url, app):
        yield url, app


@pytest.fixture(scope="module")
def url(server):
    return server[0]


@pytest.fixture(scope="module")
def client(url):
    return live.client(url)
