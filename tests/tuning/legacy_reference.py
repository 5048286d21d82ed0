"""Run in the environment that has openai 0.28: prepares the tables listed on stdin with its own tool and prints what came of each as JSON."""

import contextlib
import io
import json
import sys
import types
from pathlib import Path

from openai.cli import FineTune


def prepare(path: str, answers: list) -> dict:
    sys.stdin = io.StringIO("".join(answer + "\n" for answer in answers))
    said, complained = io.StringIO(), io.StringIO()
    before = set(Path(path).parent.iterdir())
    outcome = "ok"
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            FineTune.prepare_data(types.SimpleNamespace(file=path, quiet=not answers))
        except SystemExit:
            outcome = "refused"
        except Exception as error:
            outcome = f"crashed: {type(error).__name__}"
    made = sorted(set(Path(path).parent.iterdir()) - before)
    return {
        "outcome": outcome,
        "said": said.getvalue() + complained.getvalue(),
        "files": {file.name: file.read_bytes().hex() for file in made},
    }


json.dump([prepare(path, answers) for path, answers in json.load(sys.stdin)], sys.__stdout__)
