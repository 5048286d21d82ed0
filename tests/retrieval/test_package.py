"""What the package offers, and what it costs to import."""

import subprocess
import sys

import retrieval


def test_the_names_are_these():
    assert retrieval.__all__ == ["Clip", "Library", "Limits", "Passage", "Reranker", "Source", "SyncReport"]
    for name in retrieval.__all__:
        assert getattr(retrieval, name).__name__ == name
    assert set(retrieval.__all__) <= set(dir(retrieval))


def test_importing_loads_nothing_heavy_and_neither_does_a_search_in_an_empty_library(tmp_path):
    code = """if True:
        import sys, retrieval
        heavy = {"torch", "chromadb", "langchain_core", "numpy", "kiwipiepy", "sentence_transformers"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        with retrieval.Library(sys.argv[1]) as library:
            library.search("anything")
        heavy = {"torch", "chromadb", "kiwipiepy", "sentence_transformers"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "kb")], check=True)
