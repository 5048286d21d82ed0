"""TRL 1.16's side of the GRPO benchmark: the same update by its own trainer, in its own environment. Loaded by child.py."""

import tempfile
import time
from typing import Any

MICRO = 8


class Side:
    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec

    def warm(self) -> None:
        pass  # every run does an update first that is not counted

    def run(self) -> dict[str, Any]:
        """Do two updates; return the second's seconds, and what its answers and its policy were like."""
        trainer, timer = _trainer(self._spec)
        trainer.train()
        logged = [row for row in trainer.state.log_history if "entropy" in row][-1]
        return {**timer.found, "tokens": logged["completions/mean_length"], "entropy": logged["entropy"]}


def _trainer(spec: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Timer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.found: dict[str, Any] = {}

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == 1:
                self.wall, self.cpu = time.perf_counter(), time.process_time()
            else:
                self.found = {"seconds": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}

    folder, count = spec["folder"], len(spec["texts"]) * spec["group"]
    words = AutoTokenizer.from_pretrained(folder, padding_side="left")
    words.eos_token = words.convert_ids_to_tokens(len(words) - 1)  # the trainer wants one; the model never means it
    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    policy.generation_config.suppress_tokens = [words.eos_token_id]
    judge = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    judge.config.pad_token_id = words.pad_token_id
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=MICRO, gradient_accumulation_steps=count // MICRO,
        num_generations=spec["group"], max_completion_length=spec["answer"], max_steps=2, temperature=1.0, beta=0.02,
        num_iterations=1, loss_type="grpo", learning_rate=1e-6, use_cpu=True, bf16=spec["dtype"] == "bf16",
        shuffle_dataset=False, save_strategy="no", report_to="none", disable_tqdm=True, gradient_checkpointing=False,
        dataloader_pin_memory=False, logging_steps=1,
    )  # fmt: skip
    timer = Timer()
    trainer = GRPOTrainer(
        model=policy, reward_funcs=judge, reward_processing_classes=words, args=config, processing_class=words,
        train_dataset=Dataset.from_list([{"prompt": text} for text in spec["texts"]]), callbacks=[timer],
    )  # fmt: skip
    return trainer, timer


def load(spec: dict[str, Any]) -> Side:
    return Side(spec)
