"""The prepared file, or the two of a classification: their names, their split and their bytes are the old tool's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.home import write_file
from tuning.prepare.examples import Example, common_suffix

MOST_VALID = 1000
TRAIN_SHARE = 0.8
SEED = 42


@dataclass(frozen=True)
class Written:
    """The files with their rows, what ends prompts and completions, and how many classes the completions are."""

    files: list[Path]
    rows: list[int]
    separator: str
    stop: str
    classes: int


def write(examples: Sequence[Example], path: str | Path, split: bool = False) -> Written:
    """Write `<name>_prepared.jsonl`, or with `split` `<name>_prepared_train.jsonl` and `_valid`, beside `path`; no file is overwritten.

    Raises UsageError where a text cannot be written as UTF-8.
    """
    parts = _split(examples) if split else [list(examples)]
    files = _free_names(Path(path), ["_train", "_valid"] if split else [""])
    for file, content in zip(files, [_jsonl(part, path) for part in parts], strict=True):
        write_file(file, content)
    separator = common_suffix([e.prompt for e in examples])
    stop = common_suffix([e.completion for e in examples])
    return Written(files, [len(part) for part in parts], separator, stop, len({e.completion for e in examples}))


def _split(examples: Sequence[Example]) -> list[list[Example]]:
    """Return training and validation rows: NumPy's legacy generator with seed 42 draws the training rows, as pandas' sample does."""
    import numpy

    count = max(len(examples) - MOST_VALID, int(len(examples) * TRAIN_SHARE))
    drawn = numpy.random.RandomState(SEED).permutation(len(examples))[:count]
    train = [examples[place] for place in drawn]
    labels = {example.label for example in train}
    return [train, [example for example in examples if example.label not in labels]]


def _free_names(path: Path, suffixes: Sequence[str]) -> list[Path]:
    number = 0
    while True:
        index = f" ({number})" if number else ""
        names = [path.with_name(f"{path.stem}_prepared{suffix}{index}.jsonl") for suffix in suffixes]
        if not any(name.is_file() for name in names):
            return names
        number += 1


def _jsonl(examples: Sequence[Example], path: str | Path) -> bytes:
    import pandas

    rows: Any = [[example.prompt, example.completion] for example in examples]
    frame = pandas.DataFrame(rows, columns=["prompt", "completion"], dtype=object)
    try:
        return (frame.to_json(lines=True, orient="records", force_ascii=False) or "").encode()
    except (UnicodeEncodeError, OverflowError) as error:
        raise UsageError(
            f"{path}: a text cannot be written as UTF-8 ({error}); save the file as UTF-8 again"
        ) from error
