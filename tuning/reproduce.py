"""A model made again from what its `meta.json` says of it: the same files, models, numbers and seed, under a new name.

    made = reproduce.train("ft:starter:local:hobanne:a1b2c3d4")
    made.identical, made.differences           # the weights, bit for bit; and what was not the same on the way

Data that has changed and models that are gone are refused, since nothing could be learned from the result. Another version of a library, or
another kind of processor, is told beforehand: the weights may then differ in their last bits.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from chains.errors import UsageError
from chains.models import registry
from tuning import base, loop, placement

__all__ = ["Difference", "Made", "train"]

METHODS = ("pretrain", "sft", "reward", "ppo", "dpo", "grpo")


@dataclass(frozen=True)
class Difference:
    """Something about this machine that is not what it was when the model was made."""

    what: str
    then: str
    now: str


@dataclass(frozen=True)
class Made:
    """A model, the one made again from its recipe, and whether their weights are the same to the bit."""

    original: registry.Entry
    again: registry.Entry
    identical: bool
    differences: list[Difference]


def train(
    name: str,
    report: loop.Report = loop.silent,
    differs: Callable[[Difference], None] = lambda difference: None,
) -> Made:
    """Make the model `name` again; `differs` hears of each difference before anything is trained.

    Raises UsageError where it was not trained here, or its data or a model that it was made from is not there as it was.
    """
    original = registry.find(name)
    stage, config = recipe(original)
    _check_inputs(original, config)
    found = differences(original)
    for difference in found:
        differs(difference)
    again = stage.train(config, report=report)
    identical = base.fingerprint(str(original.path)) == base.fingerprint(str(again.path))
    return Made(original, again, identical, found)


def recipe(entry: registry.Entry) -> tuple[Any, Any]:
    """Return the stage's module and the configuration that made the model; a pretrained one gets another name in it."""
    method = entry.meta.get("method")
    if method not in METHODS or "config" not in entry.meta:
        raise UsageError(f"{entry.name!r} was not trained here (method {method!r}), so there is nothing to run again")
    if functions := entry.meta.get("rewards"):
        raise UsageError(
            f"{entry.name!r} learned from reward functions of a program ({', '.join(functions)}); run that program again"
        )
    stage = importlib.import_module(f"tuning.{method}")
    unknown = sorted(entry.meta["config"].keys() - {item.name for item in fields(stage.Config)})
    if unknown:
        raise UsageError(
            f"{entry.name!r} was made with options that this version does not have ({', '.join(unknown)}); "
            f"install chaintune {entry.meta.get('versions', {}).get('chaintune', 'as it was then')}"
        )
    config = replace(stage.Config(**entry.meta["config"]), device=_device(entry))
    return stage, replace(config, name=_free(entry.name)) if method == "pretrain" else config


def _device(entry: registry.Entry) -> str | None:
    """Return the kind of device that the model was made on, or None, the usual one, where this machine has none of it."""
    kind = entry.meta.get("machine", {}).get("device", "cpu").split(" ")[0]
    return kind if kind == "cpu" or placement.there(kind) else None


def _free(name: str) -> str:
    tried = (f"{name}-again{number}" for number in ("", *range(2, 1000)))
    return next(each for each in tried if not registry.folder(each).exists())


def _check_inputs(entry: registry.Entry, config: Any) -> None:
    """Raise UsageError on the first data file or parent that is not there, or is not what it was."""
    for path in entry.meta.get("data", {}):
        if not Path(path).is_file():
            raise UsageError(
                f"{entry.name!r} was made from {path}, which is not there; put it back, or go to its folder"
            )
    for path, found in base.file_hashes(config).items():
        if found != entry.meta["data"][path]:
            raise UsageError(f"{path} has changed since {entry.name!r} was made from it; put the old file back")
    for parent in entry.meta.get("parents", []):
        known, now = entry.meta.get("parent_weights", {}).get(parent), base.fingerprint(base.source(parent))
        if known and known != now:
            raise UsageError(
                f"{parent!r} has other weights than when {entry.name!r} was made from it; make it as it was"
            )


def differences(entry: registry.Entry) -> list[Difference]:
    """Return what about the libraries and the machine is not what it was when the model was made, which it is made again on where it can be."""
    then = {**entry.meta.get("versions", {}), **entry.meta.get("machine", {})}
    now = {**base.versions(), **base.machine(_device(entry))}
    return [
        Difference(what, str(then[what]), str(now[what])) for what in now if what in then and then[what] != now[what]
    ]
