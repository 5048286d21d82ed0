"""200 random tables come out byte for byte as openai 0.28's own tool writes them.

It runs in an environment of its own, named by CHAINTUNE_OPENAI028 (its python). To make one:
python -m venv ENV && ENV/bin/pip install openai==0.28 "pandas<2" "numpy<2" openpyxl && export CHAINTUNE_OPENAI028=ENV/bin/python
"""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from apps.cli import main

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import legacy_tables  # noqa: E402

TABLES = 200
PYTHON = os.environ.get("CHAINTUNE_OPENAI028")


def reference(tables):
    calls = json.dumps([[str(path), answers] for path, answers in tables])
    done = subprocess.run(
        [PYTHON, str(HERE / "legacy_reference.py")], input=calls, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def ours(path, answers, monkeypatch):
    before = set(path.parent.iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(answer + "\n" for answer in answers)))
    code = main(["data", "prepare", str(path), *([] if answers else ["--yes"])])
    made = sorted(set(path.parent.iterdir()) - before)
    return code, {file.name: file.read_bytes().hex() for file in made}


@pytest.mark.skipif(
    not PYTHON, reason="CHAINTUNE_OPENAI028 names no python with openai 0.28; this file's head says how to make one"
)
def test_200_random_tables_equal_the_original_tool(tmp_path, monkeypatch, capsys):
    for side in ("theirs", "ours"):
        for seed in range(TABLES):
            (tmp_path / side / str(seed)).mkdir(parents=True)
    theirs = reference([legacy_tables.make(seed, tmp_path / "theirs" / str(seed)) for seed in range(TABLES)])
    different, outcomes = [], Counter()
    for seed, expected in enumerate(theirs):
        code, files = ours(*legacy_tables.make(seed, tmp_path / "ours" / str(seed)), monkeypatch)
        outcomes[expected["outcome"].split(":")[0] + (f" with {len(files)} files" if files else "")] += 1
        error = capsys.readouterr().err
        if (code == 0) != (expected["outcome"] == "ok") or files != expected["files"] or "Traceback" in error:
            different.append(
                (
                    seed,
                    expected["outcome"],
                    expected["said"][-300:],
                    code,
                    error,
                    sorted(files),
                    sorted(expected["files"]),
                )
            )
    assert different == []
    assert outcomes["ok with 1 files"] > 50 and outcomes["ok with 2 files"] > 10 and outcomes["refused"] > 10, outcomes
