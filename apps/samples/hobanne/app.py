"""A question-and-answer bot for one's own rules, in the three ways of the course: data, fine-tuning, retrieval.

The table of questions becomes chat JSONL, `model` is fine-tuned on it, and the tuned model answers beside a retriever that quotes the
rulebook. What the model has by heart and what the rulebook says stand next to each other: only the quote is sure.

    chaintune sample hobanne --model starter question="공이 밖으로 나가면 어떻게 되나요?"
"""

from collections.abc import Callable

from apps.samples.hobanne.table import DATA, groups
from chains import RetrievalChain, UsageError, load_model
from chains.home import home
from retrieval import Library
from tuning import formats

WORDS = {
    "en": {
        "data": "{rows} demonstrations are in {path}; {warnings} warnings.",
        "step": "step {step} of {steps}: loss {loss:.2f}",
        "tuned": "The tuned model is {name}.",
        "quote": "The rulebook says: «{quote}» ({source}, characters {start}–{end})",
        "none": "The rulebook says nothing about that.",
    },
    "ko": {
        "data": "시범 답변 {rows}개를 {path}에 적었습니다. 주의할 점 {warnings}개.",
        "step": "{steps}단계 중 {step}단계: 손실 {loss:.2f}",
        "tuned": "미세 조정된 모델의 이름은 {name}입니다.",
        "quote": "규칙집 인용: «{quote}» ({source}, {start}–{end}자)",
        "none": "규칙집에 그런 내용이 없습니다.",
    },
}


def run(model: str, *, language: str, say: Callable[[str], None], question: str, train: str) -> dict[str, object]:
    """Return the answer, its quotes and the model that gave it; `train` 'no' asks `model` as it is."""
    if train not in ("yes", "no"):
        raise UsageError(f"train {train!r} is unknown; use 'yes' to fine-tune first or 'no' to ask the model as it is")
    words = WORDS[language]
    name = tune(model, words, say) if train == "yes" else model
    library = Library(home() / "samples" / "hobanne-library")
    library.sync(DATA / f"rulebook.{language}.md")
    chain = RetrievalChain(llm=load_model(name), retriever=library.as_retriever(k=1), prompt="{question}{passages}")
    made = chain.invoke({"question": question})
    say(f"{question} → {made['answer']}")
    quotes = [{"source": c.source, "start": c.start, "end": c.end, "quote": c.quote} for c in made["citations"]]
    for quote in quotes:
        say(words["quote"].format(**quote))
    if not quotes:
        say(words["none"])
    return {"question": question, "answer": made["answer"], "citations": quotes, "model": name}


def tune(model: str, words: dict[str, str], say: Callable[[str], None]) -> str:
    """Write the demonstrations as chat JSONL, check them, fine-tune `model`, and return the tuned model's name."""
    if model.startswith(("fake:", "openai:")):
        raise UsageError(f"{model!r} cannot be tuned on this machine; use starter or hf:<model>, or set train=no")
    from tuning import loop, sft  # they load torch, which asking a served model does not need

    path = home() / "samples" / "hobanne.jsonl"
    rows = formats.write(path, [q.row(f"{q.answer} {q.label}") for q in groups(seed=0).demonstrations])
    checked = formats.check(path)
    say(words["data"].format(rows=rows, path=path, warnings=len(checked.findings)))

    def report(progress: loop.Progress) -> None:
        if progress.step % max(1, progress.steps // 4) == 0:
            say(words["step"].format(step=progress.step, steps=progress.steps, loss=progress.metrics["loss"]))

    tuned = sft.train(sft.Config(model=model, data=str(path), suffix="hobanne"), report)
    say(words["tuned"].format(name=tuned.name))
    return tuned.name
