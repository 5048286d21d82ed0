"""Our side of the GRPO benchmark: an update is one round of groups of answers, learned from once. Loaded by child.py."""

import time
from contextlib import ExitStack
from typing import Any

import torch

from tests.bench.side_train import DTYPES


class Side:
    def __init__(self, spec: dict[str, Any]) -> None:
        from chains.models.engine import Engine
        from tuning import actors, base, grpo, memory, reward
        from tuning.configs import GRPOConfig
        from tuning.optimizer import Optimizer
        from tuning.rewards import Rewards

        torch.set_num_threads(spec["threads"])
        self._memory = ExitStack()
        self._memory.enter_context(memory.kept())  # as tuning.loop does
        start = base.load(f"hf:{spec['folder']}")
        judge = base.Base("judge", reward.scalar_model(start, 1, 0.0), start.tokenizer, start.context, {})
        prompts = [start.tokenizer.encode(text) for text in spec["texts"]]
        count = len(prompts) * spec["group"]
        config = GRPOConfig(
            "S", "", reward_model="judge", batch_size=len(prompts), group_size=spec["group"], minibatch_size=count, epochs=1,
            max_tokens=spec["answer"], learning_rate=1e-6, warmup_iterations=0, kl_coefficient=0.02,
            missing_end_penalty=0.0, dtype=DTYPES[spec["dtype"]],
        )  # fmt: skip
        policy, reference = actors.learner(start.model.eval(), config)
        engine = Engine(policy.model, start.tokenizer, max_batch=count)
        rewards = Rewards(actors.judge_of(judge, config.dtype), [])
        optimizer = Optimizer([policy.master], 0.0, config.clip, actors.BETAS, actors.EPS)
        rows: list[Any] = [{}] * len(prompts)
        self._training = grpo.Training(config, policy, reference, engine, optimizer, rewards, rows, prompts)
        self._done = 0

    def warm(self) -> None:
        self.run()

    def run(self) -> dict[str, Any]:
        """Do one update; return its seconds, the parts of them, and what its answers and its policy were like."""
        self._training.clock.seconds.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        metrics = self._training.step(self._done)
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
