"""How long a sync takes in which nothing changed: `python -m tests.bench.index [--files 10000] [--json]`.

The files are short texts; their vectors are made by a model that costs nothing, since a second sync embeds nothing. What is measured is
the whole call: looking at every file, reading and hashing it, and comparing it with what is known. The bar is 5 s for 10,000 files.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from langchain_core.embeddings import DeterministicFakeEmbedding

from retrieval import Library


def write(folder: Path, files: int) -> None:
    """Write that many documents of two passages, a hundred to a folder."""
    for n in range(files):
        place = folder / f"{n // 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        text = f"# Part {n}\n\nThis is document {n} of many.\n\n# End {n}\n\nHere document {n} ends.\n"
        (place / f"{n}.md").write_text(text, encoding="utf-8")


def unchanged(folder: Path, files: int) -> dict[str, float]:
    """Return the seconds of the first sync and of three more that find nothing to do."""
    write(folder / "documents", files)
    with Library(folder / "library", DeterministicFakeEmbedding(size=16)) as library:
        began = time.perf_counter()
        assert library.sync(folder / "documents").added == files
        figures = {"first_s": time.perf_counter() - began}
        for n in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            assert library.sync(folder / "documents").unchanged == files
            figures |= {
                f"again_{n + 1}_s": time.perf_counter() - wall,
                f"again_{n + 1}_cpu_s": time.process_time() - cpu,
            }
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {name: round(value, 2) for name, value in unchanged(Path(folder), given.files).items()}
    if given.json:
        print(json.dumps({"bench": "index", "part": "unchanged", "files": given.files, **figures}))
    else:
        print(f"{given.files} files", *(f"{name} {value}" for name, value in figures.items()), sep="\n   ")


if __name__ == "__main__":
    main()
