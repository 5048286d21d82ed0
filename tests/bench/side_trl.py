"""TRL's trainers on given batches: the other side of tests/bench/sft.py and rm.py. It runs in TRL's environment and imports nothing of ours."""

import tempfile
import time
from typing import Any


class Training:
    """A training of some steps from the same weights each time it is run; the first two steps are not timed."""

    WARM = 2

    def __init__(self, spec: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(spec["threads"])
        self.spec = spec

    def warm(self) -> None:
        """Nothing: each run leaves its first steps out."""

    def run(self) -> dict[str, Any]:
        """Return the losses, and the units and seconds of the timed steps."""
        made, clock = self._trainer()
        made.train()
        losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
        return {"losses": losses, "wall_s": clock.wall, "cpu_s": clock.cpu}

    def _trainer(self) -> tuple[Any, Any]:
        from datasets import Dataset
        from torch.utils.data import SequentialSampler
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(self.spec["folder"])
        Base, Config, model, rows, size, more = self._rm() if self.spec["stage"] == "rm" else self._sft()

        class Ordered(Base):
            def _get_train_sampler(self, *given: Any, **more: Any) -> Any:
                return SequentialSampler(self.train_dataset)

        plain = {
            "output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": size, "num_train_epochs": 1, "max_length": 512,
            "learning_rate": 1e-4, "lr_scheduler_type": "constant", "gradient_checkpointing": False, "use_cpu": True, "save_strategy": "no",
            "bf16": self.spec["dtype"] == "bf16", "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "dataloader_pin_memory": False,
        }  # fmt: skip
        clock = _clock(self.WARM)
        made = Ordered(
            model=model,
            args=Config(**plain, **more),
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            callbacks=[clock],
        )
        return made, clock

    def _sft(self) -> tuple[Any, ...]:
        import torch
        from transformers import AutoModelForCausalLM
        from trl import SFTConfig, SFTTrainer

        model = AutoModelForCausalLM.from_pretrained(self.spec["folder"], dtype=torch.float32)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        rows = [{"messages": row["messages"]} for batch in self.spec["batches"] for row in batch]
        return SFTTrainer, SFTConfig, model, rows, len(self.spec["batches"][0]), {"assistant_only_loss": True}

    def _rm(self) -> tuple[Any, ...]:
        """Every pair of a prompt's answers is a row, and a step has those of one prompt."""
        from itertools import combinations

        import torch
        from transformers import AutoModelForSequenceClassification
        from trl import RewardConfig, RewardTrainer

        model = AutoModelForSequenceClassification.from_pretrained(
            self.spec["folder"], num_labels=1, dtype=torch.float32
        )
        rows = []
        for row in (row for batch in self.spec["batches"] for row in batch):
            prompt = row["input"]["messages"]
            pairs = combinations([output["messages"] for output in row["outputs"]], 2)
            rows += [{"prompt": prompt, "chosen": better, "rejected": worse} for better, worse in pairs]
        return RewardTrainer, RewardConfig, model, rows, len(rows) // len(self.spec["batches"]), {}


def _clock(warm: int) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        wall = cpu = 0.0

        def on_step_end(self, given: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step == warm:
                self.began = time.perf_counter(), time.process_time()
            elif state.global_step > warm:
                self.wall, self.cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]

    return Clock()


def load(spec: dict[str, Any]) -> Training:
    """Return the side of `spec`."""
    return Training(spec)
