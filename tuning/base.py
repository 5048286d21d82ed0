"""A model to start from, by name; and a tuned model's way into the registry with all that says where it came from."""

import hashlib
import importlib.metadata
import json
import shutil
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from chains.errors import UsageError
from chains.home import home
from chains.models import registry
from chains.models.templates import PLAIN_TEMPLATE
from tuning.loop import Metrics


@dataclass(frozen=True)
class Base:
    """A model in memory, in float32, with its tokenizer and the most tokens it can see."""

    name: str
    model: Any
    tokenizer: Any
    context: int
    meta: dict[str, Any]


def load(name: str, kind: str = "chat", dropout: float = 0.0) -> Base:
    """Return the model `name` (a registry name or `hf:<folder or id>`) ready to train, every residual dropout set to `dropout`.

    `kind` is what is wanted: `chat` takes the language model, `reward` a model with one scalar head. Raises UsageError where the
    named model is of the other kind.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    entry = None if name.startswith("hf:") else registry.find(name)
    if entry and entry.kind != kind:
        raise UsageError(f"{name!r} is a {entry.kind} model; this needs a {kind} model")
    source = entry.source if entry else name.removeprefix("hf:")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        if kind == "chat":
            model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, dtype=torch.float32)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=1, use_safetensors=True, dtype=torch.float32
            )
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load {name!r} as a transformers model: {str(error).splitlines()[0]}") from error
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_TEMPLATE
    set_dropout(model, dropout)
    context = getattr(model.config, "max_position_embeddings", None) or 2**31
    return Base(name, model, tokenizer, context, entry.meta if entry else {})


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Set every dropout of `model` to 0, and those on the residual path to `share`. Warns where there is none to set."""
    found = False
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            residual = not any(
                part in name for part in ("attn_dropout", "attention_dropout", "emb", "transformer.drop")
            )
            module.p = share if residual else 0.0
            found |= residual
    if share and not found:
        warnings.warn(f"{type(model).__name__} has no residual dropout: dropout={share} is not applied", stacklevel=2)


def workdir(stage: str, config: Any) -> Path:
    """Return where this configuration's checkpoints lie: another seed, number or data file is another folder."""
    key = json.dumps([stage, asdict(config), file_hashes(config)], sort_keys=True)
    return home() / "work" / f"{stage}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def file_hashes(config: Any) -> dict[str, str]:
    """Return the sha256 of every file that the configuration names, by path."""
    named = [str(value) for value in asdict(config).values() if isinstance(value, str) and "\0" not in value]
    return {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in named
        if len(path) < 4096 and Path(path).is_file()
    }


def publish(
    name: str,
    model: Any,
    tokenizer: Any,
    config: Any,
    method: str,
    parents: list[str],
    history: list[Metrics],
    **facts: Any,
) -> registry.Entry:
    """Put the model into the registry as `name` with its lineage and its learning curve (`metrics.jsonl`), and return the entry.

    The checkpoints of its configuration are removed: they have served.
    """
    meta = {
        "kind": "chat",
        "method": method,
        "base": registry.root_base(parents[0]) if parents else name,
        "parents": parents,
        "seed": config.seed,
        "config": asdict(config),
        "data": file_hashes(config),
        "metrics": history[-1],
        "versions": {
            package: importlib.metadata.version(package) for package in ("chaintune", "torch", "transformers")
        },
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }
    work = workdir(method, config)
    with registry.publish(name, meta) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "metrics.jsonl").write_text(
            "".join(json.dumps({"step": i + 1, **m}) + "\n" for i, m in enumerate(history))
        )
    shutil.rmtree(work, ignore_errors=True)
    return registry.find(name)
