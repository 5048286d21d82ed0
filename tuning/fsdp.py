"""What accelerate's launcher says of FSDP (`accelerate launch --use_fsdp`, or its configuration file), read from the environment that it sets.

What can be done is done so; everything else is refused by the name that its file has for it. The launcher sets most names always, to its
own defaults, so a default cannot be told from a wish: what it stands for is what is done here.
"""

import os
from dataclasses import dataclass
from typing import Any

from chains.errors import UsageError

_ONLY = {
    "OFFLOAD_PARAMS": ("false", "the parameters are in the CPU's memory already; leave it out"),
    "FORWARD_PREFETCH": ("false", "no layer is fetched before its turn; leave it out"),
    "USE_ORIG_PARAMS": ("true", "parameters keep their own shapes; leave it out"),
    "SYNC_MODULE_STATES": ("true", "every process begins with the first one's weights; leave it out"),
    "ACTIVATION_CHECKPOINTING_OFFLOAD": ("false", "the activations are in the CPU's memory already; leave it out"),
    "BACKWARD_PREFETCH": ("BACKWARD_PRE", "the next layer is fetched before the gradients of this one; leave it out"),
    "IGNORED_MODULES": ("", "every module is divided; leave it out"),
}
"""For each setting the one value that is what is done, and why there is no other."""


@dataclass(frozen=True)
class Settings:
    """How a model is divided among the processes."""

    reshard: bool
    """Whether a layer's weights are let go between its forward and its backward."""
    layers: tuple[str, ...] | None
    """The classes of the modules that are divided each for itself: () for the model as one, None for those that the model names."""
    recompute: bool
    """Whether a layer's activations are computed again in the backward pass."""


def settings() -> Settings | None:
    """Return what the launcher says of FSDP; None where it was not asked for. Raises UsageError on the first thing that cannot be done."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return None
    for name, (value, why) in _ONLY.items():
        if _said(name, value).lower() != value.lower():
            raise _refused(name, why)
    if _said("STATE_DICT_TYPE", "FULL_STATE_DICT").upper() == "LOCAL_STATE_DICT":
        raise _refused("STATE_DICT_TYPE", "checkpoints are in each process's part and the published model is whole")
    return Settings(_reshard(), _layers(), _flag("ACTIVATION_CHECKPOINTING", "false"))


def _reshard() -> bool:
    strategy, after = _said("SHARDING_STRATEGY", "FULL_SHARD").upper(), _said("RESHARD_AFTER_FORWARD", "true").lower()
    match _said("VERSION", "1"):
        case "1":
            if after != "true":
                raise _refused("RESHARD_AFTER_FORWARD", "FSDP's version 1 says that by fsdp_sharding_strategy")
            if strategy not in ("FULL_SHARD", "1", "SHARD_GRAD_OP", "2"):
                raise _refused("SHARDING_STRATEGY", "use FULL_SHARD or SHARD_GRAD_OP, or --multi_gpu to divide nothing")
            return strategy in ("FULL_SHARD", "1")
        case "2":
            if strategy not in ("FULL_SHARD", "1"):
                raise _refused("SHARDING_STRATEGY", "FSDP's version 2 says that by fsdp_reshard_after_forward")
            return _flag("RESHARD_AFTER_FORWARD", "true")
        case _:
            raise _refused("VERSION", "use 1 or 2")


def _layers() -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in _said("TRANSFORMER_CLS_TO_WRAP", "").split(",") if name.strip())
    match _said("AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP").upper():
        case "TRANSFORMER_BASED_WRAP":
            return names or None
        case "NO_WRAP" if not names:
            return ()
        case "NO_WRAP":
            raise _refused("TRANSFORMER_CLS_TO_WRAP", "fsdp_auto_wrap_policy: NO_WRAP wraps none; give one of the two")
        case _:
            raise _refused("AUTO_WRAP_POLICY", "use TRANSFORMER_BASED_WRAP or NO_WRAP")


def divided(model: Any, names: tuple[str, ...] | None) -> list[Any]:
    """Return the model's modules that are divided each for itself, by their classes' `names`. Raises UsageError where it has none of a name."""
    wanted = tuple(getattr(model, "_no_split_modules", None) or ()) if names is None else names
    found = [module for module in model.modules() if type(module).__name__ in wanted and module is not model]
    missing = set(names or ()) - {type(module).__name__ for module in found}
    if missing:
        known = ", ".join(getattr(model, "_no_split_modules", None) or ()) or "no name for its layers"
        raise UsageError(
            f"fsdp_transformer_layer_cls_to_wrap: {type(model).__name__} has no {sorted(missing)[0]!r}; have {known}"
        )
    return found


def _flag(name: str, default: str) -> bool:
    value = _said(name, default).lower()
    if value not in ("true", "false"):
        raise _refused(name, "use true or false")
    return value == "true"


def _said(name: str, default: str) -> str:
    value = os.environ.get(f"FSDP_{name}", default).strip()
    return default if value in ("", "None") else value


def _refused(name: str, why: str) -> UsageError:
    key = {"TRANSFORMER_CLS_TO_WRAP": "TRANSFORMER_LAYER_CLS_TO_WRAP"}.get(name, name).lower()
    return UsageError(f"fsdp_{key}: {os.environ.get(f'FSDP_{name}')} is not supported: {why}")
