"""What texts begin and end with: the separator after every prompt, the stop after every completion, and beginnings that teach nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from chains.errors import UsageError
from tuning.prepare.examples import CONDITIONAL, OPEN_ENDED, Example, common_prefix, common_suffix, task_type
from tuning.prepare.note import Note

SEPARATORS = (" ->", "\n\n###\n\n", "\n\n===\n\n", "\n\n---\n\n", "\n\n===>\n\n", "\n\n--->\n\n")
LAST_SEPARATOR = "\n\n### =>\n\n"
STOPS = ("\n", ".", " END", "***", "+++", "&&&", "$$$", "@@@", "%%%")
LAST_STOP = " [END]"
LONG_SUFFIX = 10
LONG_PROMPT_PREFIX = 12
COMPLETION_PREFIX = 5

Found = tuple[list[Note], Note | None, Callable[[list[Example]], list[Example]]]


def prompt_suffix(examples: Sequence[Example], path: Path, separator: str | None) -> Found:
    """Offer a separator where prompts have none in common; `separator` is added wherever a person asked for it and it is not there."""
    if task_type(examples) == OPEN_ENDED:
        if separator is not None:
            raise UsageError(f"{path}: every prompt is empty, so --separator has nothing to end; leave it out")
        return _nothing()
    prompts = [example.prompt for example in examples]
    common = common_suffix(prompts)
    if all(prompt == common for prompt in prompts):
        raise UsageError(
            f"{path}: all prompts are {common!r}; leave the prompts empty for open-ended generation, or give prompts that differ"
        )
    chosen = separator if separator is not None else choose_separator(prompts)
    return _suffix("prompt", prompts, common, chosen, forced=separator is not None)


def completion_suffix(examples: Sequence[Example], path: Path, stop: str | None) -> Found:
    """Offer a stop where completions end in nothing common; classes and open-ended text have none unless `stop` asks for it."""
    completions = [example.completion for example in examples]
    common = common_suffix(completions)
    if task_type(examples) == CONDITIONAL:
        if all(completion == common for completion in completions):
            raise UsageError(
                f"{path}: all completions are {common!r}; the model would learn to repeat it; give completions that differ"
            )
    elif stop is None:
        return _nothing()
    return _suffix(
        "completion", completions, common, choose_stop(completions) if stop is None else stop, stop is not None
    )


def choose_separator(prompts: Sequence[str]) -> str:
    """Return the first separator that stands in no prompt; ` ->` is only for prompts of one line."""
    lines = any("\n" in prompt for prompt in prompts)
    options = SEPARATORS[1:] if lines else SEPARATORS
    return next((option for option in options if not any(option in prompt for prompt in prompts)), LAST_SEPARATOR)


def choose_stop(completions: Sequence[str]) -> str:
    """Return the first stop that stands in no completion."""
    return next((option for option in STOPS if not any(option in text for text in completions)), LAST_STOP)


def _suffix(field: str, texts: Sequence[str], common: str, chosen: str, forced: bool) -> Found:
    notes = [Note(f"{field}_suffix", {"suffix": common})] if common else [Note(f"no_{field}_suffix")]
    if len(common) > LONG_SUFFIX:
        notes.append(Note(f"{field}_suffix_long", {"suffix": common, "better": chosen}))
    if common and any(common in text[: -len(common)] for text in texts):
        notes.append(Note(f"{field}_suffix_inside", {"suffix": common}))
    if forced and not common.endswith(chosen) and any(chosen in text for text in texts):
        notes.append(Note(f"{field}_suffix_inside", {"suffix": chosen}))
    wanted = bool(chosen) and not common.endswith(chosen) if forced else not common
    offered = Note(f"add_{field}_suffix", {"suffix": chosen}) if wanted else None
    return notes, offered, lambda now: [replace(e, **{field: getattr(e, field) + chosen}) for e in now]


def prompt_prefix(examples: Sequence[Example]) -> Found:
    """Offer to take off what all prompts begin with, where it is long: an instruction that is always the same teaches nothing."""
    prompts = [example.prompt for example in examples]
    common = common_prefix(prompts)
    if not common or all(prompt == common for prompt in prompts):
        return _nothing()
    long = len(common) > LONG_PROMPT_PREFIX
    notes = [Note("prompt_prefix_long" if long else "prompt_prefix", {"prefix": common})]
    offered = Note("drop_prompt_prefix", {"prefix": common}) if long else None
    return notes, offered, lambda now: [replace(e, prompt=e.prompt[len(common) :]) for e in now]


def completion_prefix(examples: Sequence[Example]) -> Found:
    """Offer to take off what all completions begin with; where it began with a space, one stays."""
    completions = [example.completion for example in examples]
    common = common_prefix(completions)
    if len(common) < COMPLETION_PREFIX or all(completion == common for completion in completions):
        return _nothing()
    space = " " if common.startswith(" ") else ""
    offered = Note("drop_completion_prefix", {"prefix": common})
    return (
        [Note("completion_prefix", {"prefix": common})],
        offered,
        lambda now: [replace(e, completion=space + e.completion[len(common) :]) for e in now],
    )


def leading_space(examples: Sequence[Example], path: Path) -> Found:
    """Offer a space before each completion, where not all have one."""

    def add(now: list[Example]) -> list[Example]:
        for example in now:
            if not example.completion:
                raise UsageError(
                    f"{path}: row {example.label}: without what all completions begin with, its completion is empty; "
                    "answer n where that beginning is to be taken off, or remove the row"
                )
        return [replace(e, completion=e.completion if e.completion[0] == " " else " " + e.completion) for e in now]

    if examples and all(example.completion.startswith(" ") for example in examples):
        return _nothing()
    return [Note("no_space")], Note("add_space"), add


def _nothing() -> Found:
    return [], None, lambda now: now
