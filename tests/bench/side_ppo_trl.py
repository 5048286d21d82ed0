"""TRL 1.12's side of the PPO benchmark, the last version with PPOTrainer: the same update by its own trainer. Loaded by child.py."""

import sys
import tempfile
import time
from typing import Any


class Side:
    def __init__(self, spec: dict[str, Any]) -> None:
        sys.path.insert(0, spec["trl"])
        self._spec = spec

    def warm(self) -> None:
        pass  # every run does an update first that is not counted

    def run(self) -> dict[str, Any]:
        """Do two updates; return the second's seconds, and what its answers and its policy were like."""
        trainer, timer = _trainer(self._spec)
        trainer.train()
        return timer.found


def _trainer(spec: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    class Timer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.found: dict[str, Any] = {}

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == 1:
                self.wall, self.cpu = time.perf_counter(), time.process_time()
            else:
                seconds, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
                entropy = state.log_history[-1]["policy/entropy_avg"] if state.log_history else 0.0
                self.found = {"seconds": seconds, "cpu": cpu, "tokens": spec["answer"], "entropy": entropy}

    folder, count = spec["folder"], len(spec["prompts"])
    words = AutoTokenizer.from_pretrained(folder, padding_side="left")
    words.eos_token = words.convert_ids_to_tokens(
        len(words) - 1
    )  # the trainer wants one; the model ends nothing with it
    kind = {"dtype": torch.bfloat16 if spec.get("pure") else torch.float32}
    language = [AutoModelForCausalLM.from_pretrained(folder, **kind) for _ in range(2)]
    scalar = [AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **kind) for _ in range(2)]
    for model in scalar:
        model.config.pad_token_id = words.pad_token_id
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=8, gradient_accumulation_steps=count // 8,
        num_mini_batches=1, num_ppo_epochs=spec["epochs"], total_episodes=2 * count, response_length=spec["answer"],
        temperature=1.0, kl_coef=0.02, missing_eos_penalty=None, local_rollout_forward_batch_size=count,
        num_sample_generations=0, learning_rate=1e-6, use_cpu=True, bf16=spec.get("dtype") == "bf16" and not spec.get("pure"), save_strategy="no", report_to="none",
        disable_tqdm=True, gradient_checkpointing=False, dataloader_pin_memory=False, logging_steps=1,
    )  # fmt: skip
    timer = Timer()
    trainer = PPOTrainer(
        args=config, processing_class=words, model=language[0], ref_model=language[1], reward_model=scalar[0],
        value_model=scalar[1], train_dataset=Dataset.from_list([{"input_ids": ids} for ids in spec["prompts"]]),
        callbacks=[timer],
    )  # fmt: skip
    return trainer, timer


def load(spec: dict[str, Any]) -> Side:
    return Side(spec)
