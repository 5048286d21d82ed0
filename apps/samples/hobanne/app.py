"""A question-and-answer bot for one's own rules, in the three ways of the course: data, fine-tuning, retrieval.

The table of questions becomes chat JSONL, `model` is fine-tuned on it, and the tuned model answers beside a retriever that quotes the
rulebook. What the model has by heart and what the rulebook says stand next to each other: only the quote is sure.

    chaintune sample hobanne --model starter question="공이 밖으로 나가면 어떻게 되나요?"
"""

from collections.abc import Callable

from apps.samples.fine_tune import fine_tune
from apps.samples.hobanne.table import DATA, groups
from chains import RetrievalChain, UsageError, load_model
from chains.home import home
from retrieval import Library

PROMPT = "{passages}\n\n{question}"
WORDS = {
    "en": {
        "quote": "The rulebook says: «{quote}» ({source}, characters {start}–{end})",
        "none": "The rulebook says nothing about that.",
    },
    "ko": {
        "quote": "규칙집 인용: «{quote}» ({source}, {start}–{end}자)",
        "none": "규칙집에 그런 내용이 없습니다.",
    },
}


def run(model: str, *, language: str, say: Callable[[str], None], question: str, train: str) -> dict[str, object]:
    """Return the answer, its quotes and the model that gave it; `train` 'no' asks `model` as it is."""
    if train not in ("yes", "no"):
        raise UsageError(f"train {train!r} is unknown; use 'yes' to fine-tune first or 'no' to ask the model as it is")
    words = WORDS[language]
    rows = [q.row(f"{q.answer} {q.label}") for q in groups(seed=0).demonstrations]
    name = fine_tune(model, rows, "hobanne", say, language) if train == "yes" else model
    with Library(home() / "samples" / f"hobanne-{language}") as library:
        library.sync(DATA / f"rulebook.{language}.md")
        chain = RetrievalChain(llm=load_model(name, temperature=0), retriever=library.as_retriever(k=1), prompt=PROMPT)
        made = chain.invoke({"question": question})
    say(f"{question} → {made['answer']}")
    quotes = [{"source": c.source, "start": c.start, "end": c.end, "quote": c.quote} for c in made["citations"]]
    for quote in quotes:
        say(words["quote"].format(**quote))
    if not quotes:
        say(words["none"])
    return {"question": question, "answer": made["answer"], "citations": quotes, "model": name}
