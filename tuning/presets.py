"""Published recipes as numbers, each with its source; a recipe's `Config` takes them beside a run's own names and files.

    ppo.Config(policy=…, reward_model=…, prompts=…, **presets.numbers("instructgpt", "ppo"))

InstructGPT (arXiv 2203.02155) gives rates for GPT-3's sizes: at other sizes a rate is a place to start from. What it does not give keeps
the default: the GAE's lambda and the value's clipping, which come from Stiennon et al. (arXiv 2009.01325).
"""

from typing import Any

from chains.errors import UsageError

Recipe = dict[str, tuple[Any, str]]

INSTRUCTGPT: dict[str, Recipe] = {
    "sft": {
        "epochs": (16.0, "C.1"),
        "batch_size": (32, "C.1"),
        "learning_rate": (9.65e-6, "C.1, 1.3 and 6 B parameters"),
        "final_rate": (0.1, "C.1"),
        "warmup": (0.0, "C.1"),
        "dropout": (0.2, "C.1"),
    },
    "reward": {
        "epochs": (1.0, "C.2"),
        "batch_size": (64, "C.2, prompts with all their answers"),
        "learning_rate": (9e-6, "C.2, 6 B parameters"),
        "final_rate": (0.1, "C.2"),
        "warmup": (0.0, "C.2"),
    },
    "ppo": {
        "iterations": (500, "C.4: 256,000 episodes in batches of 512"),
        "batch_size": (512, "C.4"),
        "minibatch_size": (64, "C.4"),
        "epochs": (1, "C.4"),
        "learning_rate": (8.05e-6, "C.4 and E: of the rates tried, the highest that is stable without the mix"),
        "value_learning_rate": (9e-6, "C.4, 1.3 and 6 B parameters"),
        "warmup_iterations": (10, "C.4"),
        "kl_coefficient": (0.02, "C.4"),
        "clip_range": (0.2, "C.4"),
        "ptx_coefficient": (27.8, "C.4"),
        "ptx_examples": (8, "C.4"),
        "ema": (0.992, "C.4"),
        "missing_end_penalty": (0.0, "none is given"),
    },
}
RL_INIT: dict[str, Recipe] = {
    "sft": {
        "pretraining_share": (0.1, "C.3: 10 % pretraining data"),
        "epochs": (2.0, "C.3"),
        "batch_size": (32, "C.3, 1.3 and 6 B parameters"),
        "learning_rate": (5e-6, "C.3, 1.3 B parameters"),
        "final_rate": (0.1, "C.3"),
        "warmup": (0.0, "C.3 gives none"),
        "dropout": (0.0, "C.3 gives none"),
    }
}
"""InstructGPT's model that PPO starts from, apart from the SFT model: the same demonstrations among a tenth of pretraining text."""
PRESETS = {"instructgpt": INSTRUCTGPT, "instructgpt-rl-init": RL_INIT}


def numbers(name: str, stage: str) -> dict[str, Any]:
    """Return the preset's numbers for a stage (`sft`, `reward`, `ppo`). Raises UsageError where there is none."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r} is unknown; have {', '.join(map(repr, PRESETS))}")
    if stage not in PRESETS[name]:
        raise UsageError(f"preset {name!r} has no numbers for {stage}; it has them for {', '.join(PRESETS[name])}")
    return {field: value for field, (value, _) in PRESETS[name][stage].items()}
