"""A large model in several files is never twice in memory while it is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chains.models import weights
from tests import tiny

CHILD = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from chains.models import linear, weights
from tuning import base

def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

linear.worth_packing(torch.bfloat16)
before = most()
if sys.argv[1] == "serve":
    model = weights.load(sys.argv[2], "cpu", "bfloat16").model
    model(torch.tensor([[5, 6, 7]]))
else:
    model = base.load("hf:" + sys.argv[2], dtype=torch.bfloat16).model
    sum(parameter.sum() for parameter in model.parameters())
print(most() - before)
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A folder of 300 MB in four files."""
    folder = tmp_path_factory.mktemp("sharded")
    words = tiny.words()
    ends = {"bos_token_id": None, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=1024, intermediate_size=2816, num_hidden_layers=12, num_attention_heads=16,
        tie_word_embeddings=True, dtype=torch.bfloat16, **ends,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config).bfloat16()
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.fill_(0.01)
    with weights.quiet(bars=False):
        model.save_pretrained(folder, max_shard_size="80MB")
        words.save_pretrained(folder)
    files = list(folder.glob("*.safetensors"))
    assert len(files) == 4
    return folder, sum(file.stat().st_size for file in files)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells a process its peak of memory")
@pytest.mark.parametrize("use", ["serve", "train"])
def test_loading_takes_little_more_than_the_weights(sharded, use):
    folder, size = sharded
    assert size > 2.9e8
    done = subprocess.run([sys.executable, "-c", CHILD, use, str(folder)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0.5 * size < int(done.stdout) < 1.25 * size
