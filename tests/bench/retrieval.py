"""How well a Library finds the right document, and how fast: `python -m tests.bench.retrieval [rulebook korquad cranfield needles] [--json]`.

rulebook   the sample's questions in both languages: how often the best passage, or one of the best six, is the article that answers
korquad    KorQuAD 1.0 dev: nDCG@10 of a question's own paragraph among all of them
cranfield  nDCG@10 on the Cranfield collection, whose judgements number the queries by their position in the file
needles    the Cranfield documents with a part number in each: how often a question for one finds it first

`--data` is the folder that holds korean/KorQuAD_v1.0_dev.json and ir_cranfield/; a part whose data is not there says so.
"""

import argparse
import csv
import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chains.errors import UsageError
from retrieval import Library, Passage

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
RULEBOOK = ROOT / "apps" / "samples" / "hobanne" / "data"
ARTICLE = {"ko": r"제(\d+)조", "en": r"Rule (\d+):"}
MODES = ("hybrid", "dense", "keyword", "rrf")


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write every text as a file of its own, `<name>.txt`."""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def ranked(library: Library, query: str, mode: str, k: int) -> list[Passage]:
    """Return the best passages; besides the library's modes there is 'rrf', reciprocal rank fusion of the two ways of finding."""
    if mode != "rrf":
        return library.search(query, k=k, mode=mode)
    scores: dict[tuple[str, int], float] = {}
    found: dict[tuple[str, int], Passage] = {}
    for way in ("keyword", "dense"):
        for rank, passage in enumerate(library.search(query, k=100, mode=way), 1):
            place = (passage.metadata["source"], passage.metadata["start"])
            found[place] = passage
            scores[place] = scores.get(place, 0.0) + 1 / (
                60 + rank
            )  # Cormack, Clarke & Büttcher, 2009, with their constant
    return [found[place] for place in sorted(scores, key=lambda place: -scores[place])[:k]]


def documents(library: Library, query: str, mode: str, n: int = 10) -> list[str]:
    """Return the names of the best `n` documents: each has the rank of its best passage."""
    found = ranked(library, query, mode, 4 * n)
    return list(dict.fromkeys(Path(passage.metadata["source"]).stem for passage in found))[:n]


def ndcg(ranked: Sequence[str], relevant: set[str]) -> float:
    """Return nDCG@10 with gains of 0 and 1 (Järvelin & Kekäläinen, 2002)."""
    gain = sum(1 / math.log2(place + 2) for place, name in enumerate(ranked[:10]) if name in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(10, len(relevant))))


def korquad(data: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the distinct paragraphs by name, and every question with the name of its paragraph."""
    paragraphs: dict[str, str] = {}
    questions = []
    for article in json.loads((data / "korean" / "KorQuAD_v1.0_dev.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            name = paragraphs.setdefault(paragraph["context"], f"p{len(paragraphs)}")
            questions += [(question["question"], name) for question in paragraph["qas"]]
    return {name: text for text, name in paragraphs.items()}, questions


def cranfield(data: Path) -> tuple[dict[str, str], list[tuple[str, set[str]]]]:
    """Return the documents by number, and every query with the numbers of those that answer it."""
    folder = data / "ir_cranfield"
    everything = re.findall(r"<docno>\s*(\d+)\s*</docno>(.*?)</doc>", (folder / "cran.all.1400.xml").read_text(), re.S)
    texts = {number: re.sub(r"<[^>]+>", " ", text).strip() for number, text in everything}
    queries = re.findall(r"<title>(.*?)</title>", (folder / "cran.qry.xml").read_text(), re.S)
    relevant: dict[int, set[str]] = {}
    for line in (folder / "cranqrel.trec.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        if int(grade) > 0:
            relevant.setdefault(int(query), set()).add(document)
    judged = [(" ".join(query.split()), relevant[place]) for place, query in enumerate(queries, 1) if place in relevant]
    return {number: text for number, text in texts.items() if text}, judged


def measured(library: Library, questions: Iterable[tuple[str, set[str]]], modes: Sequence[str]) -> dict[str, float]:
    """Return nDCG@10 and the milliseconds of a search in every mode."""
    figures: dict[str, float] = {}
    questions = list(questions)
    for mode in modes:
        began = time.perf_counter()
        scores = [ndcg(documents(library, question, mode), relevant) for question, relevant in questions]
        figures[f"{mode} nDCG@10"] = sum(scores) / len(scores)
        figures[f"{mode} ms"] = 1000 * (time.perf_counter() - began) / len(questions)
    return figures


def indexed(folder: Path, texts: Mapping[str, str]) -> tuple[Library, dict[str, float]]:
    """Return a library of the texts, and how long that took."""
    write(folder / "documents", texts)
    library = Library(folder / "library")
    began = time.perf_counter()
    library.sync(folder / "documents")
    return library, {"passages": library.stats()["passages"], "sync s": time.perf_counter() - began}


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
    for place, passage in enumerate(ranked(library, question, mode, 6)):
        number = re.search(article, passage.metadata.get("heading", ""))
        if passage.metadata["source"] == source and number and number[1] == rule:
            return place
    return 6


def run_korquad(folder: Path, data: Path) -> dict[str, float]:
    paragraphs, questions = korquad(data)
    library, figures = indexed(folder, paragraphs)
    with library:
        return figures | measured(
            library, [(question, {name}) for question, name in questions[::5]], ("keyword", "hybrid")
        )


def run_cranfield(folder: Path, data: Path) -> dict[str, float]:
    texts, queries = cranfield(data)
    library, figures = indexed(folder, texts)
    with library:
        return figures | measured(library, queries, MODES)


def run_needles(folder: Path, data: Path) -> dict[str, float]:
    texts, _ = cranfield(data)
    parts = {number: f"XK-{7 * int(number) + 1000}" for number in texts}
    library, figures = indexed(folder, {number: f"{text} part {parts[number]}." for number, text in texts.items()})
    asked = [(number, f"which report describes part {parts[number]}?") for number in list(texts)[::14]]
    with library:
        for mode in MODES:
            figures[f"{mode} first"] = sum(
                documents(library, query, mode)[:1] == [number] for number, query in asked
            ) / len(asked)
            figures[f"{mode} in 6"] = sum(
                number in documents(library, query, mode)[:6] for number, query in asked
            ) / len(asked)
    return figures


PARTS = {"rulebook": run_rulebook, "korquad": run_korquad, "cranfield": run_cranfield, "needles": run_needles}
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
