"""What the samples that tune share: a table becomes a checked JSONL file, the file a tuned model, told in plain words.

The file is what `chaintune data chat TABLE` writes: a sample makes its rows in no way of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from chains import UsageError
from chains.home import home
from tuning import formats
from tuning.conversations import chat_rows

WORDS = {
    "en": {
        "data": "{rows} examples are in {path}; {findings} things to look at.",
        "step": "step {step} of {steps}: loss {loss:.2f}",
        "tuned": "The tuned model is {name}.",
    },
    "ko": {
        "data": "예시 {rows}개를 {path}에 적었습니다. 살펴볼 점 {findings}개.",
        "step": "{steps}단계 중 {step}단계: 손실 {loss:.2f}",
        "tuned": "미세 조정된 모델의 이름은 {name}입니다.",
    },
}


def write_rows(table: Path, name: str) -> Path:
    """Write the chat rows of `table` into the state folder, as `data chat` would, and return the file."""
    path = home() / "samples" / f"{name}.jsonl"
    formats.write(path, chat_rows(table))
    return path


def fine_tune(model: str, data: Path, suffix: str, say: Callable[[str], None], language: str, **numbers: Any) -> str:
    """Fine-tune `model` on the chat rows in `data` and return the tuned model's name; `numbers` are fields of `sft.Config`.

    Raises UsageError where the model is scripted or served elsewhere.
    """
    if model.startswith(("fake:", "openai:")):
        raise UsageError(f"{model!r} cannot be tuned on this machine; use starter or hf:<model>, or set train=no")
    from tuning import loop, sft  # they load torch, which asking a served model does not need

    words = WORDS[language]
    report = formats.check(data)
    say(words["data"].format(rows=report.rows, path=data, findings=len(report.findings)))

    def tell(progress: loop.Progress) -> None:
        if progress.step % max(1, progress.steps // 4) == 0:
            say(words["step"].format(step=progress.step, steps=progress.steps, loss=progress.metrics["loss"]))

    tuned = sft.train(sft.Config(model=model, data=str(data), suffix=suffix, **numbers), tell)
    say(words["tuned"].format(name=tuned.name))
    return tuned.name
