"""The processes that make one model together: each computes its part of a batch, and their gradients add up to the whole batch's.

    accelerate launch --multi_gpu --num_processes 2 -m apps.cli tune sft …       # or torchrun --nproc-per-node 2 -m apps.cli tune sft …

Every process holds the whole model and its optimiser (data parallelism, Li et al., arXiv 2006.15704), or with `--use_fsdp` its part of them
(`sharded`), over gloo. A sum over the processes is the same number in all of them, so that they decide alike; what is written is written by
the first one. Without a launcher everything here is what it is for one process.
"""

import atexit
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import distributed

from chains.errors import MachineError, UsageError
from tuning import fsdp

T = TypeVar("T")
Rows = TypeVar("Rows", list[Any], torch.Tensor)
_OPTIONS = (
    ("ACCELERATE_MIXED_PRECISION", "no", "--dtype bfloat16"),
    ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1", "--accumulate"),
)
STAGES = ("pretrain", "sft", "reward", "dpo")
"""Those whose batch can be divided; the others sample, which one engine in one process does."""


def join(stage: str) -> None:
    """Meet the other processes that a launcher started for this training. Raises UsageError where `stage` cannot be divided so."""
    _check_launcher()
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if started and stage not in STAGES:
        raise UsageError(
            f"{stage} runs in one process; start it without a launcher ({', '.join(STAGES)} share their batches)"
        )
    if started and not distributed.is_initialized():
        distributed.init_process_group("gloo")
        atexit.register(distributed.destroy_process_group)


def _check_launcher() -> None:
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise UsageError("DeepSpeed is not supported; launch with --use_fsdp, which divides the model as its ZeRO does")
    fsdp.settings()
    for name, usual, option in _OPTIONS:
        if os.environ.get(name, usual) != usual:
            raise UsageError(f"the launcher's {name}={os.environ[name]} is not read; give the command {option}")
    alone = "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ and not distributed.is_initialized()
    if alone and os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true":
        raise UsageError(
            "accelerate launch --cpu starts one process, whatever --num_processes says; "
            "write --multi_gpu in its place, which takes the CPU where there is no GPU"
        )


def count() -> int:
    """Return how many processes make the model."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number, 0 for the first."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def leads() -> bool:
    """Return whether this is the process that writes and reports."""
    return rank() == 0


def sharding() -> bool:
    """Return whether each process holds its part of the model alone."""
    return count() > 1 and fsdp.settings() is not None


def rounds(parts: Sequence[Rows], spare: Rows) -> list[tuple[Rows, float]]:
    """Return each of this process's parts of a batch with 1, by which its loss is multiplied.

    Where the model is divided every process must compute as often as the others, so `spare` rows with 0 follow in one that has fewer parts.
    """
    mine = [(rows, 1.0) for rows in parts]
    if not sharding():
        return mine
    most = torch.tensor(len(mine))
    distributed.all_reduce(most, distributed.ReduceOp.MAX)
    return mine + [(spare, 0.0)] * (int(most) - len(mine))


def part(batch: Rows) -> Rows:
    """Return this process's part of a batch's rows, a list or a tensor; it may be empty."""
    return batch[rank() :: count()] if count() > 1 else batch


def total(numbers: Sequence[float]) -> list[float]:
    """Return the sum over the processes of each number."""
    if count() == 1:
        return list(numbers)
    whole = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(whole)
    return whole.tolist()


def agreed(value: T) -> T:
    """Return the first process's `value`."""
    if count() == 1:
        return value
    box: list[Any] = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def wait() -> None:
    """Go on when every process is here."""
    if count() > 1:
        distributed.barrier()


def add_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Put the sum over the processes of each parameter's gradient in its place; one that nowhere has a gradient gets none."""
    if count() == 1 or sharding():  # the backward passes of a divided model have summed them
        return
    found = total([float(p.grad is not None) for p in parameters])
    used = [p for p, here in zip(parameters, found, strict=True) if here]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for work in [distributed.all_reduce(parameter.grad, async_op=True) for parameter in used]:
        work.wait()


def same_history(steps: int) -> None:
    """Raise MachineError where this process found another checkpoint than the first one did."""
    first = agreed(steps)
    if first != steps:
        raise MachineError(
            f"process {rank()} found a checkpoint of step {steps}, process 0 one of step {first}; "
            "CHAINTUNE_HOME must be one folder that all of them see"
        )


def reseed(seed: int, step: int) -> None:
    """Give each process a stream of its own for the dropout of this step; one process alone goes on with its generator."""
    if count() > 1:
        torch.manual_seed((seed * 2**32 + step * count() + rank()) % 2**63)
