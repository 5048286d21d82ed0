"""How well a library finds, by a test collection's judgements: nDCG, recall and the reciprocal rank, as ir-measures computes them.

    judged = read("scifact/")                              # judged.py
    with Library("./try") as library:
        names = fill(library, judged, Path("./texts"))
        measure(library, judged, names, mode="hybrid")     # {"nDCG@10": 0.68, "R@10": 0.8, "RR@10": 0.65, "ms": 14}

A document's rank is that of its best passage.
"""

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.judged import Judged
from retrieval.prepare import covers
from retrieval.search import MODES

if TYPE_CHECKING:
    from retrieval.library import Library
    from retrieval.sync import Progress

_PASSAGES = 4  # that are looked up for every document wanted, since several may be of one


def fill(library: "Library", judged: Judged, folder: Path, progress: "Progress | None" = None) -> dict[str, str]:
    """Write each document as a file of its own into `folder`, sync it, and return the document of each source."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{place}.txt": name for place, name in enumerate(judged.documents, 1)}
    for file, name in names.items():
        (folder / file).write_text(judged.documents[name], encoding="utf-8")
    library.sync(folder, progress)
    return names


def sample(judged: Judged, most: int) -> Judged:
    """Return the collection with at most `most` of its questions, spread evenly over them."""
    step = -(-len(judged.questions) // most)
    questions = dict(islice(judged.questions.items(), 0, None, step))
    return Judged(judged.documents, questions, {name: judged.grades[name] for name in questions}, judged.by_place)


def ranked(library: "Library", names: dict[str, str], question: str, mode: str, n: int) -> list[str]:
    """Return the `n` best documents."""
    found = library.search(question, k=_PASSAGES * n, mode=mode)
    return list(dict.fromkeys(names[passage.metadata["source"]] for passage in found))[:n]


def modes(library: "Library", judged: Judged) -> list[str]:
    """Return the modes in which every question can be asked: dense is one where the embedding model knows the language of all of them."""
    known = all(covers(library.model, question) for question in judged.questions.values())
    return [mode for mode in MODES if known or mode != "dense"]


def measure(
    library: "Library",
    judged: Judged,
    names: dict[str, str],
    mode: str = "hybrid",
    k: int = 10,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, float]:
    """Return nDCG@k, R@k and RR@k, means over the questions, and `ms`, the median of the milliseconds of a search."""
    import ir_measures as ir

    run: dict[str, dict[str, float]] = {}
    times = []
    for number, (name, question) in enumerate(judged.questions.items(), 1):
        began = time.perf_counter()
        best = ranked(library, names, question, mode, k)
        times.append(time.perf_counter() - began)
        run[name] = {document: float(k - place) for place, document in enumerate(best)}
        if progress:
            progress(number, len(judged.questions), mode)
    figures = ir.calc_aggregate([ir.nDCG @ k, ir.R @ k, ir.RR @ k], judged.grades, run)
    return {str(measure): value for measure, value in figures.items()} | {"ms": 1000 * sorted(times)[len(times) // 2]}
