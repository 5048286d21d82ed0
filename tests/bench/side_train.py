"""Our training of the same batches from the same weights: our side of tests/bench/sft.py and rm.py."""

import time
from contextlib import ExitStack
from typing import Any

import torch

from tuning import base, encode, memory, reward, sft
from tuning.compute import Compute
from tuning.optimizer import Optimizer

WARM = 2
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class Training:
    """A training of some steps from the same weights each time it is run; the first two steps are not timed."""

    def __init__(self, spec: dict[str, Any]) -> None:
        torch.set_num_threads(spec["threads"])
        self._memory = ExitStack()
        self._memory.enter_context(memory.kept())  # as tuning.loop does
        self.spec = spec

    def warm(self) -> None:
        """Nothing: each run leaves its first steps out."""

    def run(self) -> dict[str, Any]:
        """Return the losses, and the seconds of the timed steps."""
        model, batches, learn = self._rm() if self.spec["stage"] == "rm" else self._sft()
        compute = Compute(model.train(), DTYPES[self.spec["dtype"]])
        optimizer, losses = Optimizer([model], betas=(0.9, 0.999)), []
        for number, batch in enumerate(batches):
            if number == WARM:
                wall, cpu = time.perf_counter(), time.process_time()
            losses.append(learn(compute, batch))
            optimizer.update(1e-4)
        return {"losses": losses, "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}

    def _sft(self) -> tuple[Any, ...]:
        start = base.load(f"hf:{self.spec['folder']}")
        batches = [[encode.example(start.tokenizer, row) for row in batch] for batch in self.spec["batches"]]
        return start.model, batches, sft.learn

    def _rm(self) -> tuple[Any, ...]:
        start = base.load(f"hf:{self.spec['folder']}", kind="reward")
        batches = [[reward.ranked(start.tokenizer, row) for row in batch] for batch in self.spec["batches"]]
        return start.model, batches, lambda compute, batch: reward.learn(compute, batch)[0]


def load(spec: dict[str, Any]) -> Training:
    """Return the side of `spec`."""
    return Training(spec)
