"""Our side of the PPO benchmark: an update is one round of 32 answers, learned from `epochs` times. Loaded by child.py."""

import time
from contextlib import ExitStack
from typing import Any

import torch

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class Side:
    def __init__(self, spec: dict[str, Any]) -> None:
        from tuning import actors, base, loop, memory, ppo, reward
        from tuning.configs import PPOConfig

        torch.set_num_threads(spec["threads"])
        self._memory = ExitStack()
        self._memory.enter_context(memory.kept())  # as tuning.loop does
        start = base.load(f"hf:{spec['folder']}")
        judge = base.Base("judge", reward.scalar_model(start, 1, 0.0), start.tokenizer, start.context, {})
        count = len(spec["prompts"])
        self._config = PPOConfig(
            "S", "judge", "", batch_size=count, minibatch_size=count, epochs=spec["epochs"], max_tokens=spec["answer"],
            learning_rate=1e-6, value_learning_rate=1e-6, warmup_iterations=0, kl_coefficient=0.02,
            missing_end_penalty=0.0, watch_every=0, dtype=DTYPES[spec.get("dtype", "fp32")], **spec.get("more", {}),
        )  # fmt: skip
        models = actors.made(start, judge, self._config)
        self._training = ppo.Training(self._config, models, spec["prompts"], None)
        self._state = loop.State(models.modules, models.optimizers, {"beta": 0.02})
        self._done = 0

    def warm(self) -> None:
        self.run()

    def run(self) -> dict[str, Any]:
        """Do one update; return its seconds, the parts of them, and what its answers and its policy were like."""
        self._training.clock.seconds.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        metrics = self._training.step(self._done, self._state)
        self._done += 1
        return {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "parts": dict(self._training.clock.seconds),
            "tokens": metrics["tokens"],
            "entropy": metrics["entropy"],
        }


def load(spec: dict[str, Any]) -> Side:
    return Side(spec)
