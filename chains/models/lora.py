"""LoRA adapters over a base that is in memory once: each is added to one shared peft model, and a request names the one it wants.

An adapter is a folder with adapter_config.json, which names the base (a folder or a hub id), and adapter_model.safetensors.
"""

import copy
import hashlib
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError

if TYPE_CHECKING:
    from chains.models.weights import Loaded

CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def is_adapter(path: Path) -> bool:
    """Return whether the folder holds an adapter and no model of its own."""
    return (path / CONFIG).is_file() and not (path / "config.json").is_file()


def base_of(path: Path) -> str:
    """Return the base that the adapter's configuration names, a folder or a hub id. Raises UsageError for one that cannot be used."""
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        base, kind = config.get("base_model_name_or_path"), config.get("peft_type")
    except (ValueError, AttributeError):
        raise UsageError(f"{path / CONFIG} is not an adapter's configuration: it is no JSON object") from None
    if kind != "LORA":
        raise UsageError(f"{path} is an adapter of the kind {kind!r}; only LORA adapters run here")
    if not (path / _WEIGHTS).is_file():
        raise UsageError(
            f"{path} has no {_WEIGHTS}; other formats can run code when they are read, so save it as safetensors"
        )
    if not isinstance(base, str) or not base:
        raise UsageError(f"{path / CONFIG} names no base; write its folder or hub id at base_model_name_or_path")
    beside = path / base
    return str(beside.resolve()) if not Path(base).is_absolute() and beside.is_dir() else base


def put_on(base: "Loaded", source: str, stamp: int) -> "Loaded":
    """Return `base` with the adapter of the folder `source` chosen; its weights are added to the shared model once for each `stamp`.

    Raises UsageError for an adapter that is not this base's.
    """
    path = hashlib.blake2b(source.encode(), digest_size=6).hexdigest()
    name = f"{path}-{stamp}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's use of transformers
        try:
            _add(base, source, name, older=f"{path}-")
        except (ValueError, RuntimeError, KeyError) as error:
            raise UsageError(f"the adapter {source} does not fit its base: {str(error).splitlines()[0]}") from error
    chosen = copy.copy(base)  # the same model, engines and locks
    chosen.tokenizer = _tokenizer(source, base.tokenizer)
    chosen.adapter = name
    return chosen


def _add(base: "Loaded", source: str, name: str, older: str) -> None:
    from peft import PeftConfig, PeftModel

    from chains.models.packed import alone

    if isinstance(base.model, PeftModel) and name in base.model.peft_config:
        return
    if not isinstance(base.model, PeftModel):
        base.becomes(lambda model: PeftModel(model, PeftConfig.from_pretrained(source), adapter_name=name).eval())
    with alone(base.model):  # an engine may be running another of its adapters
        _load(base.model, source, name, older)


def _load(model: Any, source: str, name: str, older: str) -> None:
    try:
        report = model.load_adapter(source, adapter_name=name)
        if wrong := [*report.missing_keys, *report.unexpected_keys]:
            raise ValueError(f"its weights and its configuration differ at {wrong[0]}")
    except Exception:
        if name in model.peft_config:
            model.delete_adapter(name)
        raise
    model.eval()
    model.set_adapter(name)
    for stale in [each for each in model.peft_config if each.startswith(older) and each != name]:
        model.delete_adapter(stale)


def _tokenizer(source: str, base: Any) -> Any:
    """Return the adapter's own tokenizer, which brings its chat template, or the base's where it has none."""
    if not (Path(source) / "tokenizer_config.json").is_file():
        return base
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if own.get_vocab() != base.get_vocab():
        raise UsageError(f"the adapter {source} has other tokens than its base; merge it into its base to use it")
    return own
