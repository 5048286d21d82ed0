"""A model to start from, by name; and a tuned model's way into the registry with all that says where it came from."""

import hashlib
import importlib.metadata
import json
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from chains.errors import MachineError, UsageError
from chains.home import home
from chains.models import linear, registry
from chains.models.scorer import check_head
from chains.models.templates import PLAIN_TEMPLATE
from chains.models.weights import changed, quiet
from tuning import curves, devices, events, placement, sharded
from tuning.loop import Metrics


@dataclass(frozen=True)
class Base:
    """A model in memory, in float32, with its tokenizer and the most tokens it can see."""

    name: str
    model: Any
    tokenizer: Any
    context: int
    meta: dict[str, Any]


def load(name: str, kind: str = "chat", dropout: float = 0.0, device: torch.device = placement.CPU, **how: Any) -> Base:
    """Return the model `name` (a registry name or `hf:<folder or id>`) on the device, ready to train by fast products, every residual dropout set to `dropout`.

    `kind` is what is wanted: `chat` takes the language model, `reward` a model with one scalar head; `how` goes to transformers, as the
    type of frozen weights does. Raises UsageError where the named model is of the other kind.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    entry = None if name.startswith("hf:") else registry.find(name)
    if entry and entry.kind != kind:
        raise UsageError(f"{name!r} is a {entry.kind} model; this needs a {kind} model")
    place = source(name)
    auto = AutoModelForCausalLM if kind == "chat" else AutoModelForSequenceClassification
    options = {
        "dtype": torch.float32,
        **how,
        "use_safetensors": True,
        "trust_remote_code": False,
        "output_loading_info": True,
    }
    with quiet(bars=not Path(place).is_dir()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            loaded: Any = auto.from_pretrained(place, **options)
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(f"cannot load {name!r} as a transformers model: {str(error).splitlines()[0]}") from error
    model, report = loaded
    if kind == "reward":
        check_head(model, name)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])[0]
        raise MachineError(f"the weights of {name!r} are not whole: {missing} is missing; get or make the model again")
    tokenizer.chat_template = tokenizer.chat_template or PLAIN_TEMPLATE
    if placement.of(model) not in (device, torch.device("meta")):  # FSDP sends the weights later
        model.to(device)
    set_dropout(model, dropout)
    linear.accelerate_learning(model)
    context = getattr(model.config, "max_position_embeddings", None) or 2**31
    return Base(name, model, tokenizer, context, entry.meta if entry else {})


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Set every dropout of `model` to 0, and those on the residual path to `share`. Warns where there is none to set."""
    found = False
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            own = name.rsplit(".", 1)[
                -1
            ]  # GPT-2's drop is on the embeddings, GPT-NeoX's post_attention_dropout on the residual path
            residual = own not in ("attn_dropout", "attention_dropout", "drop") and "emb" not in own
            module.p = share if residual else 0.0
            found |= residual
    if share and not found:
        warnings.warn(f"{type(model).__name__} has no residual dropout: dropout={share} is not applied", stacklevel=2)


@dataclass(frozen=True)
class Run:
    """One training run, noted before it reads anything: what it is made from, and the folder of its checkpoints."""

    stage: str
    config: Any
    parents: list[str]
    data: dict[str, str]
    """The sha256 of every data file, by path."""
    weights: dict[str, str]
    """The sha256 of the weights of every parent whose files are here."""
    folder: Path


def begin(stage: str, config: Any, parents: Sequence[str] = (), also: str = "") -> Run:
    """Return the run of `stage` with `config` on the models `parents`: another number, data file or parent's weights is another folder.

    `also` stands for what the run hangs on besides; what the configuration asks for beside the training is no part of it.

    Raises UsageError where the machine has not the device that is asked for, or the same run was stopped half-way and a data file has
    changed since.
    """
    devices.join(stage)
    placement.place(config.device)
    data = file_hashes(config)
    weights = {name: changed(source(name)) for name in parents}
    beside = {item.name for item in fields(config) if item.metadata["beside"]}
    numbers = {name: value for name, value in asdict(config).items() if name not in beside}
    key, read = (_key(what) for what in ([stage, numbers, weights, *filter(None, [also])], data))
    folder = home() / "work" / f"{stage}-{key}-{read}"
    prints = {name: found for name in parents if (found := fingerprint(source(name)))}
    for other in folder.parent.glob(f"{stage}-{key}-*"):
        if other != folder and any(other.glob("step-*")):
            raise UsageError(
                f"{' or '.join(data)} has changed since this training was stopped; put the file back to go on, "
                f"or remove {other} to begin anew"
            )
    return Run(stage, config, list(parents), data, prints, folder)


def _key(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def file_hashes(config: Any) -> dict[str, str]:
    """Return the sha256 of every file that the configuration names, by path."""
    paths = [getattr(config, item.name) for item in fields(config) if item.metadata["help"].startswith("file:")]
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths if path is not None}


def publish(run: Run, name: str, model: Any, tokenizer: Any, history: list[Metrics], **facts: Any) -> registry.Entry:
    """Put the model into the registry as `name` with its lineage and its learning curves, and return the entry.

    The curves are `metrics.jsonl`, `curves.png` and, where the run wrote them, TensorBoard's event files.

    The run's checkpoints are removed: they have served.
    """
    devices.wait()  # whoever still reads the checkpoints
    name = devices.agreed(name)
    meta = {
        "kind": "chat",
        "method": run.stage,
        "base": registry.root_base(run.parents[0]) if run.parents else name,
        "parents": run.parents,
        "parent_weights": run.weights,
        "seed": run.config.seed,
        "config": asdict(run.config),
        "data": run.data,
        "metrics": history[-1],
        "versions": versions(),
        "machine": machine(run.config.device),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }
    weights = sharded.gathered(model)
    if devices.leads():
        _write(run, name, meta, model, tokenizer, history, weights)
    devices.wait()
    return registry.find(name)


def _write(
    run: Run,
    name: str,
    meta: dict[str, Any],
    model: Any,
    tokenizer: Any,
    history: list[Metrics],
    weights: dict[str, torch.Tensor] | None,
) -> None:
    with registry.publish(name, meta) as folder, quiet(bars=False):
        model.save_pretrained(folder, state_dict=weights)
        tokenizer.save_pretrained(folder)
        (folder / "metrics.jsonl").write_text(
            "".join(json.dumps({"step": i + 1, **m}) + "\n" for i, m in enumerate(history))
        )
        curves.draw(curves.panels(history), folder / "curves.png", columns=4)
        if (run.folder / events.FOLDER).is_dir():
            shutil.copytree(run.folder / events.FOLDER, folder / events.FOLDER)
    shutil.rmtree(run.folder, ignore_errors=True)


def source(name: str) -> str:
    """Return what transformers can load for the model `name`: a folder or a hub id."""
    return name.removeprefix("hf:") if name.startswith("hf:") else registry.find(name).source


def fingerprint(folder: str) -> str | None:
    """Return the sha256 of the weights in a folder, all files together; None for a hub id, whose files are not here."""
    whole = hashlib.sha256()
    files = sorted(Path(folder).glob("*.safetensors"))
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest() if files else None


def versions() -> dict[str, str]:
    """Return the versions of what weights depend on."""
    return {package: _version(package) for package in ("chaintune", "torch", "transformers")}


def machine(device: str | None) -> dict[str, Any]:
    """Return what else sums depend on in their last bits: where they are computed, the processor's instructions, and who shares the sums."""
    return {
        "device": placement.called(placement.place(device)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "processes": devices.count(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"  # a checkout that is not installed
