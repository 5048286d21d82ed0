"""A question-and-answer bot for one's own rules, in the three ways of the course: data, fine-tuning, retrieval.

The table of questions becomes chat JSONL, four fifths of it fine-tune `model`, and the tuned model answers beside a retriever that quotes
the rulebook. What the model has by heart and what the rulebook says stand next to each other: only the quote is sure. The sample says
whether it was trained on the very question that is asked.

    chaintune sample hobanne --model starter question="공이 밖으로 나가면 어떻게 되나요?"
    chaintune data chat apps/samples/hobanne/data/qa.csv --out hobanne.jsonl      # its rows,
    chaintune data split hobanne.jsonl --fractions 0.8,0.2                        # and those it is trained on
"""

from collections.abc import Callable
from pathlib import Path

from apps.samples.fine_tune import fine_tune, write_rows
from apps.samples.hobanne.table import DATA
from chains import RetrievalChain, UsageError, load_model
from chains.home import home
from retrieval import Library
from tuning import formats, splitting

SHARES = (0.8, 0.2)
"""Of the table's questions: what is learned, and what is kept for measuring."""
PROMPT = "{passages}\n\n{question}"
WORDS = {
    "en": {
        "quote": "The rulebook says: «{quote}» ({source}, characters {start}–{end})",
        "none": "The rulebook says nothing about that.",
        "known": "This question is in the training rows: the model may have its answer by heart.",
        "new": "This question is not in the training rows: the model has never seen it.",
    },
    "ko": {
        "quote": "규칙집 인용: «{quote}» ({source}, {start}–{end}자)",
        "none": "규칙집에 그런 내용이 없습니다.",
        "known": "학습한 질문입니다. 모델이 외워서 답할 수 있습니다.",
        "new": "학습하지 않은 질문입니다. 모델이 처음 보는 질문입니다.",
    },
}


def training_rows() -> Path:
    """Write the table's rows and their two parts, as `data chat` and `data split` do, and return the part that is learned."""
    whole = write_rows(DATA / "qa.csv", "hobanne")
    parts = [whole.with_name(f"hobanne.{name}.jsonl") for name in ("train", "test")]
    splitting.split(whole, parts, SHARES)
    return parts[0]


def run(model: str, *, language: str, say: Callable[[str], None], question: str, train: str) -> dict[str, object]:
    """Return the answer, its quotes and the model that gave it; `train` 'no' asks `model` as it is."""
    if train not in ("yes", "no"):
        raise UsageError(f"train {train!r} is unknown; use 'yes' to fine-tune first or 'no' to ask the model as it is")
    words = WORDS[language]
    data = training_rows()
    name = fine_tune(model, data, "hobanne", say, language) if train == "yes" else model
    with Library(home() / "samples" / f"hobanne-{language}") as library:
        library.sync(DATA / f"rulebook.{language}.md")
        chain = RetrievalChain(llm=load_model(name, temperature=0), retriever=library.as_retriever(k=1), prompt=PROMPT)
        made = chain.invoke({"question": question})
    known = any(row["messages"][0]["content"] == question for row in formats.read_chat(data))
    say(words["known" if known else "new"])
    say(f"{question} → {made['answer']}")
    quotes = [{"source": c.source, "start": c.start, "end": c.end, "quote": c.quote} for c in made["citations"]]
    for quote in quotes:
        say(words["quote"].format(**quote))
    if not quotes:
        say(words["none"])
    return {
        "question": question,
        "answer": made["answer"],
        "citations": quotes,
        "model": name,
        "in_training_data": known,
    }
