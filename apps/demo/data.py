"""The demo's files: what each step of the training reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from langchain_core.documents import Document

from apps.samples.hobanne.table import SHOWN, Groups, Question
from chains.retrieval_chain import as_text
from tuning import formats

RAG_PROMPT = "{passages}\n\n{question}"
"""The demo's retrieval prompt: short, since the starter model sees few tokens at once."""
JSON_PROMPT = "{question}\nJSON:"


@dataclass(frozen=True)
class Files:
    """Where the data lies."""

    demonstrations: Path
    prompts: Path
    rankings: Path
    held_out_rankings: Path


def paths(folder: Path) -> Files:
    """Return the demo's data files in `folder`."""
    names = ("demonstrations", "prompts", "rankings", "held_out_rankings")
    return Files(*(folder / f"{name}.jsonl" for name in names))


def write_prompts(path: Path, asked: Sequence[Question]) -> int:
    """Write the questions without their answers: what PPO samples from."""
    return formats.write(path, [{"messages": question.row()["messages"][:-1]} for question in asked])


def demonstrations(groups: Groups, passage: dict[str, Document]) -> list[formats.Row]:
    """Return the rows that SFT learns from, as several labelers might write them.

    Each question twice, its answer with its article's label and without; and of each fact two questions with the article above them, as
    the retrieval chain asks, and two in JSON. Every question has the label as often as any other: PPO, which is paid for labels, would
    else learn to say what is labelled more often, whatever was asked.
    """
    rows = []
    for place, question in enumerate(groups.demonstrations):
        labelled = f"{question.answer} {question.label}"
        rows += [question.row(question.answer), question.row(labelled)]
        if place % SHOWN < 2:
            asked = RAG_PROMPT.format(passages=as_text([passage[article_key(question)]]), question=question.text)
            rows.append(formats.chat_row(asked, labelled))
        elif place % SHOWN < 4:
            said = json.dumps({"answer": question.answer, "rule": question.rule}, ensure_ascii=False)
            rows.append(formats.chat_row(JSON_PROMPT.format(question=question.text), said))
    return rows


def article_key(question: Question) -> str:
    """Return the beginning of the heading of the article that a question is about."""
    return f"제{question.rule}조" if question.language == "ko" else f"Rule {question.rule}:"
