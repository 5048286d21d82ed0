"""Makes the models that the chains call: pretraining, then InstructGPT's three steps (SFT, reward model, PPO), and what feeds and measures them.

Each stage is a module with a frozen `Config` and a `train(config)` that returns the registry entry of the new model:

    from tuning import sft
    model = sft.train(sft.Config(model="starter", data="train.jsonl", suffix="hobanne"))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning import (
        dpo,
        evaluate,
        formats,
        generate,
        grpo,
        loop,
        ppo,
        presets,
        pretrain,
        reproduce,
        reward,
        rounds,
        sft,
        winning,
    )

__all__ = [
    "dpo",
    "evaluate",
    "formats",
    "generate",
    "grpo",
    "loop",
    "ppo",
    "presets",
    "pretrain",
    "reproduce",
    "reward",
    "rounds",
    "sft",
    "winning",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"tuning.{name}")
    raise AttributeError(f"module 'tuning' has no attribute {name!r}")
