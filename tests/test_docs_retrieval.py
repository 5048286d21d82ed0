"""docs/retrieval.md: its Python runs, on a library of one document and a scripted model."""

import re
from pathlib import Path

from retrieval import Library

PAGE = (Path(__file__).parent.parent / "docs" / "retrieval.md").read_text(encoding="utf-8")


def test_the_pages_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.md").write_text(
        "# 시간\n\n쉬는 시간은 칠 분입니다. Half-time lasts seven minutes.\n", encoding="utf-8"
    )
    with Library(tmp_path / "kb") as library:
        library.sync("rules.md")
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/retrieval.md", "exec"), {})
