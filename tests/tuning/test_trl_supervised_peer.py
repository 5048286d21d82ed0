"""Our losses and gradients are TRL's on the same batch and weights: supervised fine-tuning, padded and packed, and the reward model.

It runs in an environment of its own, named by CHAINTUNE_TRL (its python). To make one:
python -m venv ENV && ENV/bin/pip install trl==1.16.0 && export CHAINTUNE_TRL=ENV/bin/python
"""

import json
import os
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import tiny
from tuning import base, encode, reward, sft
from tuning.compute import Compute

PYTHON = os.environ.get("CHAINTUNE_TRL")
pytestmark = pytest.mark.skipif(
    not PYTHON, reason="CHAINTUNE_TRL names no python with trl 1.16; this file's head says how to make one"
)
MARKED = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] }}<|end|>{% endgeneration %}{% else %}{{ message['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Our template with the marks that TRL needs to tell the assistant's tokens apart."""
CHATS = [
    tiny.chat("What colour is the sky?", "The sky is blue."),
    tiny.chat("yes?", "no"),
    {
        "messages": [
            *tiny.chat("공은?", "빨간색이에요.")["messages"],
            *tiny.chat("good?", "maybe good, thanks")["messages"],
        ]
    },
]
ANSWERS = ["The sky is blue.", "maybe blue", "no", "bad bad bad"]


def theirs(tmp_path, stage, model, rows, packing=False):
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    tiny.words().save_pretrained(folder)
    job = {
        "stage": stage,
        "model": str(folder),
        "rows": rows,
        "template": MARKED,
        "packing": packing,
        "out": str(tmp_path / "gradients"),
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [PYTHON, str(Path(__file__).parent / "trl_supervised_reference.py"), str(tmp_path / "job.json")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), load_file(job["out"])


def assert_equal(model, loss, their_loss, gradients):
    assert loss == pytest.approx(their_loss, rel=1e-5)
    ours = {name: p.grad for name, p in model.named_parameters()}
    assert ours.keys() == gradients.keys()
    whole = torch.cat([g.flatten() for g in gradients.values()]).norm()
    for name, gradient in gradients.items():
        assert ((ours[name] - gradient).norm() / whole).item() < 1e-5, name


@pytest.mark.parametrize(("architecture", "packing"), [("gpt2", False), ("llama", False), ("llama", True)])
def test_supervised_fine_tuning(tmp_path, architecture, packing):
    model = tiny.model(architecture, spread=0.2).train()
    said, gradients = theirs(tmp_path, "sft", model, CHATS, packing)
    assert said["rows"] == (1 if packing else 3)
    loss = sft.learn(Compute(model), [encode.example(tiny.words(), row) for row in CHATS])
    assert_equal(model, loss, said["loss"], gradients)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_reward_model(tmp_path, architecture):
    """TRL takes the C(K,2) pairs of a ranking as rows of their own, and each answer as often as it stands in a pair."""
    start = base.Base("tiny", tiny.model(architecture, spread=0.2), tiny.words(), tiny.CONTEXT, {})
    model = reward.scalar_model(start, seed=1, dropout=0.0).train()
    question = tiny.chat("What colour is the sky?", "")["messages"][:1]
    turn = [[{"role": "assistant", "content": answer}] for answer in ANSWERS]
    pairs = [{"prompt": question, "chosen": a, "rejected": b} for a, b in combinations(turn, 2)]
    said, gradients = theirs(tmp_path, "reward", model, pairs)
    assert said["rows"] == 12
    row = tiny.ranking("What colour is the sky?", ANSWERS, [1, 2, 3, 4])
    loss, _ = reward.learn(Compute(model), [reward.ranked(tiny.words(), row)])
    assert_equal(model, loss, said["loss"], gradients)
