"""`chaintune eval retrieval`: how well a library finds, by the judgements of a test collection."""

import tempfile
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from apps import bots
from apps.cli import flags, show
from apps.text import language, text

Modes = Annotated[
    list[str] | None,
    typer.Option("--mode", help="A way of finding; may be given again. Default: all that can be used."),
]
Work = Annotated[
    Path | None, typer.Option("--work", help="Folder that keeps the documents and their index for the next time.")
]


def retrieval(
    collection: Annotated[
        Path, typer.Argument(help="A folder in BEIR's or TREC's form, or a JSON file in SQuAD's, such as KorQuAD.")
    ],
    mode: Modes = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1000, help="Documents that are looked at for a question.")] = 10,
    questions: Annotated[
        int | None, typer.Option("--questions", min=1, help="How many questions to ask, spread evenly. Default: all.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which of BEIR's judgements: qrels/NAME.tsv.")] = "test",
    embeddings: flags.Embeddings = None,
    work: Work = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Measure retrieval: nDCG, recall and the reciprocal rank of the first right document, by ir-measures.

    Example: chaintune eval retrieval KorQuAD_v1.0_dev.json --mode hybrid --mode keyword --questions 500
    """
    words = language(lang)
    for one in mode or ():
        bots.check_mode(one)
    from retrieval import judged, measure

    found = judged.read(collection, split)
    asked = measure.sample(found, questions) if questions else found
    with tempfile.TemporaryDirectory() if work is None else nullcontext(str(work)) as folder:
        figures = _figures(Path(folder), asked, mode, k, embeddings)
    about = {"collection": str(collection), "documents": len(asked.documents), "questions": len(asked.questions),
             "by_place": asked.by_place}  # fmt: skip
    if json:
        show.as_json({**about, "modes": figures})
        return
    show.say(text("eval_collection", words, **about))
    if asked.by_place:
        show.say(text("eval_by_place", words))
    columns = list(next(iter(figures.values())))
    show.table(["mode", *columns], [[one, *(f"{row[name]:.4g}" for name in columns)] for one, row in figures.items()])


def _figures(folder: Path, asked: Any, modes: list[str] | None, k: int, embeddings: str | None) -> dict[str, Any]:
    """Return the figures of every mode; where none was named, dense is left out if the model does not know the language."""
    from retrieval import measure

    folder.mkdir(parents=True, exist_ok=True)
    with closing(bots.make_library(folder / "library", embeddings)) as library, show.progress("eval") as advance:
        names = measure.fill(library, asked, folder / "documents", advance)
        chosen = modes or measure.modes(library, asked)
        return {mode: measure.measure(library, asked, names, mode, k, advance) for mode in chosen}
