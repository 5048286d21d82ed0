"""What `import chains` gives, and what it costs."""

import importlib
import subprocess
import sys

import chains

NAMES = [
    "Agent", "Answer", "BestOfN", "ChaintuneError", "Chatbot", "Citation", "FewShot", "HyDE", "Judge", "LLMChain", "LocalChat", "LocalEmbeddings",
    "MachineError", "ModelError", "Moderation", "MultiQuery", "PartialParser", "Prompt", "Reflect", "RetrievalChain", "RetryParser", "Route", "Router",
    "SampledCache", "SelfConsistency", "SequentialChain", "SimpleSequentialChain", "Summarize", "TruncatedError", "UsageError",
    "WiringError", "load_model", "load_scorer", "named", "runs",
]  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_all_is_exact():
    assert chains.__all__ == NAMES


def test_every_public_name_is_there():
    for name in NAMES:
        assert getattr(chains, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    try:
        importlib.import_module("chains").LLMChian  # noqa: B018
    except AttributeError as error:
        assert "LLMChian" in str(error)
    else:
        raise AssertionError("no error")


def test_import_loads_nothing_heavy():
    heavy = ["torch", "transformers", "chromadb", "streamlit", "langchain_core", "pydantic", "apsw"]
    assert run(f"import chains, sys; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_import_takes_less_than_a_tenth_of_a_second():
    code = "import time; start = time.process_time(); import chains; print(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(3)) < 0.1


def test_the_run_store_is_read_without_langchain():
    assert run("from chains import runs; import sys; runs.recent(); print('langchain_core' in sys.modules)") == "False"
