"""Other people's clients against the server: LiteLLM, Instructor, the `llm` command, and EleutherAI's lm-evaluation-harness.

They run in an environment of their own, named by CHAINTUNE_CLIENTS (its python). To make one:
python -m venv ENV && ENV/bin/pip install litellm instructor llm 'lm-eval[api,hf]' mcp && export CHAINTUNE_CLIENTS=ENV/bin/python
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from chains import LocalEmbeddings, load_model
from chains.models import registry

PYTHON = os.environ.get("CHAINTUNE_CLIENTS")
QUESTION = "What colour is the sky?"

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="CHAINTUNE_CLIENTS names no python with other clients; this file's head says how to make one"
)


def run(folder, *words, package=None, **more):
    """Run the clients' python and return what it printed; skip where `package` is not installed beside it."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more,
    }  # fmt: skip
    if package:
        there = subprocess.run([PYTHON, "-c", f"import {package}"], env=environment, cwd=folder, capture_output=True)
        if there.returncode:
            pytest.skip(f"{package} is not installed beside CHAINTUNE_CLIENTS; this file's head says how")
    done = subprocess.run([PYTHON, *words], env=environment, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def calls(client, url, folder):
    script = Path(__file__).with_name("client_calls.py")
    return json.loads(run(folder, str(script), client, url, package=client).splitlines()[-1])


def own(**settings):
    return load_model("starter", temperature=0, max_tokens=120, **settings).invoke(QUESTION)


def test_litellm_chats_streams_calls_and_embeds(url, tmp_path):
    made, expected = calls("litellm", url, tmp_path), own()
    assert made["whole"] == made["streamed"] == expected.content
    assert made["tokens"] == made["streamed_tokens"] == expected.usage_metadata["output_tokens"]
    assert isinstance(made["call"]["ready"], bool) and made["error"] == "NotFoundError"
    assert made["embedding"] == pytest.approx(LocalEmbeddings().embed_query("a red bicycle"), abs=1e-6)


def test_instructors_models_are_filled_whole_and_streamed(url, tmp_path):
    made = calls("instructor", url, tmp_path)
    assert len(made) == 4
    for sky in made.values():
        assert sky["colour"] in ("blue", "red") and isinstance(sky["rains"], bool)


def test_the_llm_command_answers_and_lists_the_model(url, tmp_path):
    place = {"LLM_USER_PATH": str(tmp_path)}
    entry = f"- model_id: local\n  model_name: starter\n  api_base: {url}/v1\n  api_key_name: none\n"
    (tmp_path / "extra-openai-models.yaml").write_text(entry)
    assert "local" in run(tmp_path, "-m", "llm", "models", "list", package="llm", **place)
    for stream in ([], ["--no-stream"]):
        said = run(tmp_path, "-m", "llm", "-m", "local", "--key", "none", "-o", "temperature", "0", "-o", "max_tokens", "120",
                   *stream, QUESTION, **place)  # fmt: skip
        assert said.strip() == own().content.strip()


TASKS = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{answers}}",
        "doc_to_target": "{{right}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}{{answers[right]}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "words": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answers[right]}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12, "do_sample": False, "temperature": 0},
        "metric_list": [{"metric": "bleu"}, {"metric": "chrf"}],
    },
}
COLOURS = ["blue", "green", "red", "a deep and dark red", "no colour", "yellow"]
THINGS = ["sky", "grass", "ball", "sea", "sun", "moon", "field", "road", "rose", "leaf"]


def task_folder(folder):
    rows = [
        {
            "question": f"What colour is the {thing}? The {thing} is",
            "right": n % 6,
            "answers": [f" {c}." for c in COLOURS],
        }
        for n, thing in enumerate(THINGS)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
    }
    for name, task in TASKS.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"task": name, **data, **task}))  # JSON is YAML


def scores(folder, place, model, arguments):
    out = folder / place
    run(folder, "-m", "lm_eval", "--model", model, "--model_args", arguments, "--tasks", ",".join(TASKS), "--include_path", str(folder),
        "--output_path", str(out), "--batch_size", "1", "--device", "cpu", package="lm_eval", OPENAI_API_KEY="none")  # fmt: skip
    (found,) = out.rglob("results*.json")
    rows = json.loads(found.read_text())["results"]
    return {
        f"{task} {name}": value
        for task in TASKS
        for name, value in rows[task].items()
        if isinstance(value, float) and "stderr" not in name
    }


@pytest.mark.timeout(900)
def test_lm_evals_local_completions_scores_as_its_hf_backend(url, tmp_path):
    task_folder(tmp_path)
    source = registry.find("starter").source
    theirs = scores(tmp_path, "hf", "hf", f"pretrained={source},dtype=float32")
    server = (
        f"model=starter,base_url={url}/v1/completions,tokenizer={source},num_concurrent=4,max_retries=1,max_length=1024"
    )
    assert len(theirs) == 6
    for tokens in (True, False):
        ours = scores(tmp_path, f"ours{tokens}", "local-completions", f"{server},tokenized_requests={tokens}")
        assert ours == pytest.approx(theirs, rel=1e-4), tokens
