"""A model whose weights, gradients and optimiser are divided among the processes (FSDP, arXiv 2304.11277), by torch's `fully_shard`.

    sharded.spread(model)                                    # before its optimiser is made; one process alone: nothing
    loss = sharded.within(model, lambda: loss_of(model))     # every process as often, or all of them wait for ever
    whole = sharded.gathered(model)                          # on the first process

Each process holds a part of every weight, split in its first dimension, and a layer is whole only while it computes. Gradients are summed over
the processes, not averaged, as a batch's parts ask for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from chains.errors import UsageError
from tuning import devices, fsdp, memory
from tuning.forward import recompute_activations

T = TypeVar("T")
_ROOT = "_sharded_root"


class _Root(torch.nn.Module):
    """What holds the model, so that whatever is computed with its parts is inside one forward."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], Any]) -> Any:
        return compute()


def spread(model: Any, dtype: str = "float32") -> None:
    """Divide the model among the processes, where they were launched so; it computes in `dtype`, and its parts stay float32.

    The first process's weights are taken; those of the others may be on the meta device. Raises UsageError where the launcher names layers
    that the model has not.
    """
    settings = fsdp.settings()
    if settings is None or not devices.sharding():
        return
    memory.returned()
    if settings.recompute:
        recompute_activations(model)
    half = dtype == "bfloat16"
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    mesh = init_device_mesh("cpu", (devices.count(),))
    root = _Root(model)
    for unit in [*fsdp.divided(model, settings.layers), root]:
        _receive(unit)
        fully_shard(unit, mesh=mesh, reshard_after_forward=settings.reshard, mp_policy=policy)
    for part in _divided(root):
        part.set_force_sum_reduction_for_comms(True)
        part.set_gradient_divide_factor(1.0)
    model.__dict__[_ROOT] = root
    _begin(root)


def _begin(root: torch.nn.Module) -> None:
    """Make every unit's whole weights once outside of inference mode, whose tensors could not be trained."""
    root(lambda: None)
    for part in _divided(root):
        part.unshard()
        part.reshard()


def _divided(root: torch.nn.Module) -> list[FSDPModule]:
    return [module for module in root.modules() if isinstance(module, FSDPModule)]


@torch.no_grad()
def _receive(unit: torch.nn.Module) -> None:
    """Give the unit's weights that are not divided yet the first process's numbers."""
    taken: dict[int, torch.nn.Parameter] = {}
    for module in unit.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None or isinstance(parameter, DTensor):
                continue
            if id(parameter) not in taken:
                taken[id(parameter)] = here = _present(parameter)
                distributed.broadcast(here.data, 0)
            module._parameters[name] = taken[id(parameter)]


def _present(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    if not parameter.is_meta:
        return parameter
    return torch.nn.Parameter(torch.empty_like(parameter, device="cpu"), parameter.requires_grad)


def within(model: Any, compute: Callable[[], T]) -> T:
    """Return what `compute` does with the model, whose parts come together meanwhile; its backward pass may come after."""
    root = getattr(model, "__dict__", {}).get(_ROOT)
    if root is None:
        return compute()
    found = root(compute)
    if not _awaits_backward(found):  # which would have parted them again
        for part in _divided(root):
            part.reshard()
    return cast(T, found)


def _awaits_backward(found: Any) -> bool:
    first = found[0] if isinstance(found, tuple) else found
    return isinstance(first, torch.Tensor) and first.requires_grad


def check(options: dict[str, Any]) -> None:
    """Raise UsageError on the first of a command's `options` that is wanted and needs a whole model in one process."""
    for name, wanted in options.items():
        if wanted and devices.sharding():
            raise UsageError(f"{name} needs the whole model in one process; launch with --multi_gpu in place of FSDP")


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's part of a tensor; one that is not divided is its own part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a tensor, in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(part: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return a part of what belongs to a parameter, divided as the parameter is; a number of its own stays what it is."""
    if not isinstance(parameter, DTensor) or part.ndim != parameter.ndim:
        return part
    mesh, places = parameter.device_mesh, parameter.placements
    return DTensor.from_local(part, mesh, places, run_check=False, shape=parameter.shape, stride=parameter.stride())


@torch.no_grad()
def gathered(model: Any) -> dict[str, torch.Tensor] | None:
    """Return all the model's tensors by name on the first process, and none on the others; None where nothing is divided."""
    if _ROOT not in model.__dict__:
        return None
    found: dict[int, torch.Tensor] = {}
    names: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in found:
            full = whole(tensor.detach())
            found[id(tensor)] = full if devices.leads() else full.new_empty(0)
        names[name] = found[id(tensor)]
    return names if devices.leads() else {}


def piece(path: Path) -> Path:
    """Return the file in which this process keeps what `path` names."""
    part = f".{devices.rank() + 1}-of-{devices.count()}" if devices.sharding() else ""
    return path.with_name(f"{path.name}{part}.safetensors")


def save(module: torch.nn.Module, path: Path) -> None:
    """Write the module's weights, or this process's part of them, to the file that `path` names."""
    if devices.sharding():
        save_file({name: tensor.contiguous() for name, tensor in _parts(module).items()}, piece(path))
    else:
        save_model(module, str(piece(path)))


@torch.no_grad()
def load(module: torch.nn.Module, path: Path) -> None:
    """Put back what `save` wrote."""
    if devices.sharding():
        saved = load_file(piece(path))
        for name, tensor in _parts(module).items():
            tensor.copy_(saved[name])
    else:
        load_model(module, str(piece(path)))


def _parts(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    names = {id(tensor): (name, tensor) for name, tensor in reversed(module.state_dict(keep_vars=True).items())}
    return {name: local(tensor.detach()) for name, tensor in names.values()}
