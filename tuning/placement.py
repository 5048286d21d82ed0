"""Where a training computes: the models are on a device, batches are made on the CPU and go there, and what the device draws is kept.

Only what has a model's width or a vocabulary's length is on the device. The numbers of a batch (log-probabilities, rewards, advantages,
scores: one a token, or one an answer) come back to the CPU, where the objectives are small sums; gradients flow through both ways.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from chains.errors import UsageError
from chains.models import device as places
from tuning import devices

CPU = torch.device("cpu")
GPUS = {"cuda": "an NVIDIA GPU and a torch built for it", "mps": "one of Apple's GPUs"}


def place(wanted: str | None) -> torch.device:
    """Return the device `wanted`, or, where none is, the first GPU: CUDA's, then Apple's; else the CPU. Of several processes each has its own GPU.

    Raises UsageError where this machine has no such device, and for a GPU where FSDP divides the model.
    """
    name = places.chosen(wanted)
    if name != "cpu" and devices.sharding():
        raise UsageError(f"a model divided by FSDP computes on the CPU, and device is {name!r}; give device='cpu'")
    if wanted in GPUS and not there(name):
        raise UsageError(
            f"device={wanted!r} needs {GPUS[name]}, which is not here; leave device out, or use device='cpu'"
        )
    if name != "cuda":
        return torch.device(name)
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    own = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count() if many else torch.cuda.current_device()
    return torch.device(name, own)


def there(name: str) -> bool:
    """Return whether this machine has a GPU of that kind."""
    return torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()


def called(device: torch.device) -> str:
    """Return the device's kind, and of one of CUDA's which it is."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def of(model: Any) -> torch.device:
    """Return the device that the model is on."""
    found: torch.device = next(model.parameters(), torch.empty(0)).device
    return found


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on the device; CUDA copies it behind its work that is under way, which is not waited for."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def given(inputs: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return what a model is called with, its tensors on the device."""
    return {name: moved(each, device) if isinstance(each, torch.Tensor) else each for name, each in inputs.items()}


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of the CPU's generator, and of the device's where it has its own, by their names in a checkpoint."""
    state = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put back what `random_state` returned; of a device that it does not know the generator stays what it is."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def random_kept(device: torch.device = CPU) -> Iterator[None]:
    """Leave the generators of the CPU and the device after the block as they were before it."""
    state = random_state(device)
    try:
        yield
    finally:
        set_random_state(state, device)
