"""What `import chains`, `import retrieval` and `import tuning` give, and what they cost."""

import importlib
import inspect
import subprocess
import sys

import pytest

import chains

PACKAGES = ("chains", "retrieval", "tuning")

NAMES = [
    "Agent", "Answer", "BestOfN", "ChaintuneError", "Chatbot", "Citation", "ContextError", "FewShot", "HyDE", "Judge", "LLMChain", "LocalChat", "LocalEmbeddings",
    "MachineError", "ModelError", "Moderation", "MultiQuery", "PartialParser", "Prompt", "Reflect", "RetrievalChain", "RetryParser", "Route", "Router",
    "SampledCache", "SelfConsistency", "SequentialChain", "SimpleSequentialChain", "Summarize", "TruncatedError", "UsageError",
    "WiringError", "load_model", "load_scorer", "named", "runs",
]  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_all_is_exact():
    assert chains.__all__ == NAMES


def public():
    """Return every public name: (package, name)."""
    return [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


@pytest.mark.parametrize("package, name", public())
def test_every_public_name_is_there_and_says_what_it_is(package, name):
    found = getattr(importlib.import_module(package), name)
    assert inspect.getdoc(found)
    for member, value in inspect.getmembers(found, inspect.isfunction) if inspect.isclass(found) else ():
        if not member.startswith("_") and value.__module__.split(".")[0] in PACKAGES:
            assert inspect.getdoc(getattr(found, member)), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="LLMChian"):
        importlib.import_module(package).LLMChian  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_import_loads_nothing_heavy(package):
    heavy = ["torch", "transformers", "chromadb", "streamlit", "langchain_core", "pydantic", "apsw"]
    assert run(f"import {package}, sys; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_import_takes_less_than_a_tenth_of_a_second():
    code = "import time; start = time.process_time(); import chains; print(time.process_time() - start)"
    assert min(float(run(code)) for _ in range(3)) < 0.1


def test_the_run_store_is_read_without_langchain():
    assert run("from chains import runs; import sys; runs.recent(); print('langchain_core' in sys.modules)") == "False"
