"""The `vllm serve` line of docs/server.md is one that vLLM takes: its own parser reads it. No model is served by vLLM here.

The parser is that of the python that CHAINTUNE_VLLM names. To make one, without a GPU's libraries, beside a torch that is there:
python -m venv --system-site-packages ENV && ENV/bin/pip install --no-deps vllm==0.33.0 &&
ENV/bin/pip install cbor2 pyzmq openai-harmony msgspec cachetools partial-json-parser xgrammar && export CHAINTUNE_VLLM=ENV/bin/python
"""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

PYTHON = os.environ.get("CHAINTUNE_VLLM")
PAGE = (Path(__file__).parents[3] / "docs" / "server.md").read_text()
READER = Path(__file__).with_name("vllm_arguments.py")

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="CHAINTUNE_VLLM names no python with vLLM; this file's head says how to make one"
)


def read(folder, words):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([PYTHON, READER, *words], env=environment, cwd=folder, capture_output=True, text=True)


def test_vllms_parser_takes_the_pages_line(tmp_path):
    (line,) = re.findall(r"^vllm serve (.*)$", PAGE, flags=re.MULTILINE)
    done = read(tmp_path, shlex.split(line))
    assert done.returncode == 0, done.stderr[-2000:]
    given = json.loads(done.stdout.splitlines()[-1])
    assert given["model_tag"].endswith("models/starter") and given["served_model_name"] == ["starter"]
    assert (given["host"], given["port"], given["max_model_len"]) == ("127.0.0.1", 8001, 512)
    engine = re.search(r"chaintune serve --engine http://localhost:(\d+)", PAGE)
    assert engine and int(engine[1]) == given["port"]
    assert read(tmp_path, [*shlex.split(line), "--no-such-flag"]).returncode == 2
