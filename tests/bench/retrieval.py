"""How well a Library finds the right document, and how fast: `python -m tests.bench.retrieval [rulebook korquad cranfield needles speed] [--json]`.

rulebook   the sample's questions in both languages: how often the best passage, or one of the best six, is the article that answers
korquad    KorQuAD 1.0 dev: nDCG@10 of a question's own paragraph among all of them
cranfield  nDCG@10 on the Cranfield collection, whose judgements number the queries by their position in the file
speed      100,000 passages of drawn words with drawn vectors, questions (of words, not codes) embedded by the packaged model: median
           milliseconds of a search
needles    the Cranfield documents with a part number in each: how often a question for one finds it first

`--data` is the folder that holds korean/KorQuAD_v1.0_dev.json and ir_cranfield/; a part whose data is not there says so.
"""

import argparse
import csv
import json
import re
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from chains.errors import UsageError
from chains.models.embeddings import LocalEmbeddings
from retrieval import Library, judged, measure

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
RULEBOOK = ROOT / "apps" / "samples" / "hobanne" / "data"
ARTICLE = {"ko": r"제(\d+)조", "en": r"Rule (\d+):"}
MODES = ("hybrid", "dense", "keyword")


def documents(library: Library, query: str, mode: str, n: int = 10) -> list[str]:
    """Return the names of the best `n` documents: each has the rank of its best passage."""
    found = library.search(query, k=4 * n, mode=mode)
    return list(dict.fromkeys(passage.metadata["source"] for passage in found))[:n]


def collection(folder: Path, place: Path, most: int | None = None) -> dict[str, float]:
    """Return what a library of a test collection measures in every mode that knows its language."""
    found = judged.read(place)
    asked = measure.sample(found, most) if most else found
    with Library(folder / "library") as library:
        began = time.perf_counter()
        names = measure.fill(library, asked, folder / "documents")
        figures = {"passages": library.stats()["passages"], "sync s": time.perf_counter() - began}
        for mode in measure.modes(library, asked):
            figures |= {f"{mode} {name}": value for name, value in measure.measure(library, asked, names, mode).items()}
    return figures


def run_rulebook(folder: Path, data: Path) -> dict[str, float]:
    """Both rulebooks lie in one library, so that an article in the other language is wrong."""
    figures: dict[str, float] = {}
    with Library(folder / "library") as library, (RULEBOOK / "qa.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
        for language in ARTICLE:
            library.sync(RULEBOOK / f"rulebook.{language}.md")
        for language, article in ARTICLE.items():
            for mode in MODES:
                asked = [(row["question"], row["rule"]) for row in rows if row["language"] == language]
                try:
                    places = [
                        _place(library, question, mode, f"rulebook.{language}.md", article, rule)
                        for question, rule in asked
                    ]
                except UsageError:  # the model does not know the language
                    continue
                figures[f"{language} {mode} first"] = sum(place == 0 for place in places) / len(places)
                figures[f"{language} {mode} in 6"] = sum(place < 6 for place in places) / len(places)
    return figures


def _place(library: Library, question: str, mode: str, source: str, article: str, rule: str) -> int:
    for place, passage in enumerate(library.search(question, k=6, mode=mode)):
        number = re.search(article, passage.metadata.get("heading", ""))
        if passage.metadata["source"] == source and number and number[1] == rule:
            return place
    return 6


def run_korquad(folder: Path, data: Path) -> dict[str, float]:
    return collection(folder, data / NEEDS["korquad"])


def run_cranfield(folder: Path, data: Path) -> dict[str, float]:
    return collection(folder, data / NEEDS["cranfield"])


def run_needles(folder: Path, data: Path) -> dict[str, float]:
    found = judged.read(data / NEEDS["needles"])
    parts = {name: f"XK-{7 * int(name) + 1000}" for name in found.documents}
    texts = {name: f"{text} part {parts[name]}." for name, text in found.documents.items()}
    figures: dict[str, float] = {}
    asked = [(name, f"which report describes part {parts[name]}?") for name in list(texts)[::14]]
    with Library(folder / "library") as library:
        names = measure.fill(library, judged.Judged(texts, {}, {}), folder / "documents")
        for mode in MODES:
            best = [([names[source] for source in documents(library, query, mode)], name) for name, query in asked]
            figures[f"{mode} first"] = sum(found[:1] == [name] for found, name in best) / len(asked)
            figures[f"{mode} in 6"] = sum(name in found[:6] for found, name in best) / len(asked)
    return figures


class Drawn(LocalEmbeddings):
    """Vectors of documents are drawn (a model would take an hour); those of questions are the model's."""

    def __init__(self) -> None:
        super().__init__()
        self._random = np.random.default_rng(0)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._random.standard_normal((len(texts), 384), dtype=np.float32).tolist()


def run_speed(folder: Path, data: Path, passages: int = 100_000, each: int = 1000) -> dict[str, float]:
    """Words are drawn from 30,000 as often as Zipf's law says; a source holds `each` passages of 80."""
    random = np.random.default_rng(1)
    share = 1 / np.arange(1, 30_001)
    letters = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")  # a letter beside a digit would be a code
    vocabulary = np.array([f"w{n:x}".translate(letters) for n in range(30_000)])
    (folder / "documents").mkdir()
    for n in range(passages // each):
        drawn = random.choice(vocabulary, size=(each, 80), p=share / share.sum())
        text = "".join(f"# {place}\n\n{' '.join(row)}\n\n" for place, row in enumerate(drawn))
        (folder / "documents" / f"{n}.md").write_text(text)
    questions = [" ".join(row) for row in random.choice(vocabulary, size=(101, 8), p=share / share.sum())]
    figures: dict[str, float] = {}
    with Library(folder / "library", Drawn()) as library:
        library.sync(folder / "documents")
        figures["passages"] = library.stats()["passages"]
        for mode in MODES:
            times = []
            for question in questions:
                began = time.perf_counter()
                library.search(question, mode=mode)
                times.append(1000 * (time.perf_counter() - began))
            figures[f"{mode} p50 ms"], figures[f"{mode} p95 ms"] = sorted(times[1:])[50], sorted(times[1:])[95]
    figures["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


PARTS = {
    "rulebook": run_rulebook,
    "korquad": run_korquad,
    "cranfield": run_cranfield,
    "needles": run_needles,
    "speed": run_speed,
}
NEEDS = {"korquad": "korean/KorQuAD_v1.0_dev.json", "cranfield": "ir_cranfield", "needles": "ir_cranfield"}


def main() -> None:
    """Run the parts that were named, or all, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        if part in NEEDS and not (given.data / NEEDS[part]).exists():
            print(f"{part}: {given.data / NEEDS[part]} is not there; name its folder with --data")
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures = PARTS[part](Path(folder), given.data)
        if given.json:
            print(json.dumps({"bench": "retrieval", "part": part, **figures}), flush=True)
        else:
            print(part, *(f"{name} {value:.4g}" for name, value in figures.items()), sep="\n   ", flush=True)


if __name__ == "__main__":
    main()
