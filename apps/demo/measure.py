"""What came out: every model on every group of questions, and how often retrieval quotes the right article."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from apps.demo.data import RAG_PROMPT, article_key
from apps.demo.models import MAX_TOKENS, Bars
from apps.samples.hobanne import labeler
from apps.samples.hobanne.table import Question, without_label
from chains import RetrievalChain, load_model, load_scorer
from tuning import base, evaluate, formats


def table(
    names: dict[str, str], reward_name: str, groups: dict[str, Sequence[Question]], seed: int, bars: Bars
) -> list[dict[str, Any]]:
    """Return one row of numbers for each model (label -> registry name) and group; the KL is from the model labelled SFT."""
    scorer = load_scorer(reward_name)
    asked = {question.text: question for group in groups.values() for question in group}

    def judge(row: formats.Row, answer: str) -> float:
        return labeler.score(asked[row["messages"][-2]["content"]], answer)

    reference = base.load(names["SFT"]).model
    rows = []
    with bars("measure") as bar:
        for label, name in names.items():
            model = base.load(name).model
            for group, questions in groups.items():
                found = evaluate.quality(
                    model, reference, scorer, [q.row() for q in questions], judge, MAX_TOKENS, seed, clean=without_label
                )
                rows.append({"model": label, "group": group, **asdict(found)})
                bar(len(rows), len(names) * len(groups), f"{label}, {group}")
    return rows


def quotes(name: str, library: Any, questions: Sequence[Question]) -> dict[str, float]:
    """Return the share of `questions` whose first quote is verbatim and from the right article, by language and together."""
    chain = RetrievalChain(
        llm=load_model(name, temperature=0, max_tokens=MAX_TOKENS),
        retriever=library.as_retriever(k=1),
        prompt=RAG_PROMPT,
    )
    made = chain.batch([{"question": question.text} for question in questions])
    right = [
        _right(question, answer["citations"], library.text) for question, answer in zip(questions, made, strict=True)
    ]
    by = {
        language: [r for r, q in zip(right, questions, strict=True) if q.language == language]
        for language in ("en", "ko")
    }
    return {
        "all": sum(right) / len(right),
        **{language: sum(part) / len(part) for language, part in by.items() if part},
    }


def _right(question: Question, citations: Sequence[Any], text: Callable[[str], str]) -> bool:
    if not citations:
        return False
    first = citations[0]
    verbatim = text(first.source)[first.start : first.end] == first.quote
    return verbatim and (first.heading or "").split(" > ")[-1].startswith(article_key(question))
