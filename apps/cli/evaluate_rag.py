"""`chaintune eval rag`: how well a model answers from a library, and whether it cites what holds the answer."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from apps import bots
from apps.cli import flags, show
from apps.text import language, text


def rag(
    questions: Annotated[
        Path,
        typer.Argument(help='JSONL: {"question", "answer", "evidence": [{"source", "quote"}]}, evidence optional.'),
    ],
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    model: flags.Model = "starter",
    k: flags.K = 6,
    mode: flags.Mode = "hybrid",
    rerank: flags.Rerank = None,
    keyword_weight: flags.KeywordWeight = None,
    expand: flags.Expand = None,
    quotes: flags.Quotes = "matched",
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Measure answers from a library: exact and F1 as SQuAD counts them (KorQuAD for Korean), citation precision and recall, support.

    A citation is right where it shares text with the evidence. The model says what is likeliest.

    Example: chaintune eval rag questions.jsonl --library ./kb --model starter
    """
    words = language(lang)
    bots.check_expansion(expand)
    with closing(bots.open_library(library, embeddings)) as opened, show.progress("eval") as advance:
        from apps import rag_eval

        asked = rag_eval.read(questions, opened)
        passages = bots.retriever(opened, k, mode, rerank, keyword_weight)
        from chains import RetrievalChain, load_model

        llm = load_model(model, temperature=0)
        chain = RetrievalChain(llm=llm, retriever=bots.expanded(passages, expand, llm, k), quotes=quotes)
        scores = rag_eval.measure(chain, asked, advance)
    figures = rag_eval.means(scores)
    if json:
        about = {"questions": str(questions), "library": str(library), "model": model, "rows": len(scores)}
        show.as_json({**about, **figures, "answers": [asdict(one) for one in scores]})
        return
    show.say(text("eval_rag", words, model=model, library=library, rows=len(scores)))
    show.table(list(figures), [["–" if value is None else f"{value:.4g}" for value in figures.values()]])
