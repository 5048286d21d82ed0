"""Every number of every stage: its meaning, its unit, and where its default comes from.

This file loads nothing heavy, so that the command line can print each stage's options at once. A stage's own module shows its
class as `Config`: `sft.Config`, `reward.Config`, `ppo.Config`, `pretrain.Config`.
"""

from dataclasses import MISSING, dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chains.errors import UsageError

MAX_SEED = 2**31 - 1
"""So that a seed and a step's number together fit the 64 bits of a random stream."""


DTYPES = ("float32", "bfloat16")
DTYPE_HELP = "what is computed with, float32 or bfloat16; the weights that are trained stay float32"
DEVICES = ("cpu", "cuda", "mps")
DEVICE_HELP = (
    "where it is computed, cpu, cuda or mps (Apple's GPU); none takes the first GPU, or the CPU where there is none"
)
"""Beside what names a run: its checkpoint goes on on any device."""
PACKING_HELP = "lay rows end to end; without it they are padded"
TENSORBOARD_HELP = "show the run's numbers while it runs: tensorboard --logdir ~/.chaintune (CHAINTUNE_HOME); they are kept beside the model"
CHECKPOINTING_HELP = "compute activations again in the backward pass: less memory, a third more time"


def option(
    help: str,
    default: Any = MISSING,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] | None = None,
    beside: bool = False,
) -> Any:
    """Return a dataclass field with its one-line help and the bounds that `check` holds; one `beside` the training changes nothing of it."""
    metadata = {"help": help, "above": above, "least": least, "most": most, "choices": choices, "beside": beside}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def check(config: Any) -> None:
    """Raise UsageError on the first field out of its bounds, the first named file that is missing, or a package that is."""
    if getattr(config, "tensorboard", False) and find_spec("tensorboard") is None:
        raise UsageError("tensorboard needs a package that is not installed; run: pip install 'chaintune[tensorboard]'")
    for item in fields(config):
        value = getattr(config, item.name)
        above, least, most = (item.metadata[bound] for bound in ("above", "least", "most"))
        if value is None:
            continue
        if above is not None and not value > above:
            raise UsageError(f"{item.name}={value!r} cannot be used; expected a number above {above:g}")
        if least is not None and not value >= least:
            raise UsageError(f"{item.name}={value!r} cannot be used; expected a number of at least {least:g}")
        if most is not None and not value <= most:
            raise UsageError(f"{item.name}={value!r} cannot be used; expected a number of at most {most}")
        choices = item.metadata["choices"]
        if choices is not None and value not in choices:
            raise UsageError(f"{item.name}={value!r} is unknown; use {' or '.join(map(repr, choices))}")
        if item.metadata["help"].startswith("file:") and not Path(value).is_file():
            raise UsageError(f"{item.name}: there is no file {value}; give the path of an existing file")


@dataclass(frozen=True)
class PretrainConfig:
    """A small GPT from nothing: a byte-level BPE tokenizer, then next-token prediction."""

    text: str = option("file: plain text to learn from, UTF-8, an empty line between documents")
    name: str = option("the registry name of the new model", "starter")
    vocab_size: int = option("tokens in the vocabulary, the 256 bytes and the chat's marks included", 2048, least=300)
    context: int = option("positions the model can see, in tokens", 256, least=16)
    layers: int = option("transformer blocks", 4, least=1)
    width: int = option("size of the hidden state, a multiple of heads", 192, least=8)
    heads: int = option("attention heads", 6, least=1)
    steps: int = option("optimiser steps", 600, least=1)
    batch_size: int = option("sequences a step", 16, least=1)
    sequence: int = option("tokens a sequence, at most context", 128, least=8)
    learning_rate: float = option(
        "peak of AdamW's rate (GPT-3 small uses 6e-4; a model this small bears more)", 2e-3, above=0
    )
    warmup: float = option("share of the steps in which the rate rises from 0", 0.05, least=0, most=1)
    weight_decay: float = option("decoupled, on matrices only (GPT-3: 0.1)", 0.1, least=0)
    clip: float = option("the largest gradient norm (GPT-3: 1.0)", 1.0, above=0)
    seed: int = option("of the weights, the order and everything else", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class SFTConfig:
    """Supervised fine-tuning: InstructGPT's first step."""

    model: str = option("the model to start from, by name")
    data: str = option(
        "file: demonstrations; chats, prompts with completions, or preferences, of which the winners are learned"
    )
    validation: str | None = option("file: demonstrations that are only measured, after each epoch", None)
    pretraining: str | None = option(
        "file: pretraining text, UTF-8, that is learned among the demonstrations (InstructGPT C.3)", None
    )
    pretraining_share: float = option(
        "share of the rows that are of the pretraining text (InstructGPT C.3: 0.1)", 0.1, above=0, most=0.9
    )
    suffix: str = option("part of the new model's name", "sft")
    epochs: float = option("passes over the data (InstructGPT C.1: 16)", 16.0, above=0)
    batch_size: int = option("rows a step (InstructGPT C.1: 32)", 32, least=1)
    learning_rate: float = option(
        "peak; InstructGPT's 9.65e-6 is for 1.3 B parameters, small models need more", 1e-3, above=0
    )
    final_rate: float = option("share of the peak that the cosine ends at (InstructGPT: 0.1)", 0.1, least=0, most=1)
    warmup: float = option(
        "share of the steps in which the rate rises from 0 (InstructGPT: none)", 0.03, least=0, most=1
    )
    dropout: float = option("residual dropout (InstructGPT C.1: 0.2)", 0.2, least=0, most=1)
    weight_decay: float = option("decoupled, on matrices only", 0.01, least=0)
    clip: float = option("the largest gradient norm", 1.0, above=0)
    accumulate: int = option(
        "parts that a batch is computed in, one after another: less memory, the same result", 1, least=1
    )
    dtype: str = option(DTYPE_HELP, "float32", choices=DTYPES)
    packing: bool = option(PACKING_HELP, True)
    gradient_checkpointing: bool = option(CHECKPOINTING_HELP, False)
    lora_rank: int = option("train a LoRA adapter of this rank and merge it; 0 trains every weight", 0, least=0)
    lora_alpha: int = option("scale of the adapter's change, divided by its rank (Hu et al.)", 16, least=1)
    quantize: bool = option("hold the weights under the LoRA adapter in 4 bits (QLoRA, arXiv 2305.14314)", False)
    publish: str = option(
        "the weights that are kept: of the last step, or of the epoch with the least validation loss or the best reward",
        "last",
        choices=("last", "validation", "reward"),
    )
    reward_model: str | None = option(
        "scores answers to the validation prompts after each epoch (InstructGPT C.1)", None
    )
    patience: int | None = option(
        "epochs without a better measure after which training stops; none never stops", None, least=1
    )
    samples: int = option("validation prompts whose answers are shown after each epoch", 0, least=0)
    max_tokens: int = option("the longest answer that is shown or scored, in tokens", 64, least=1)
    seed: int = option("of the order, of dropout and of a new adapter", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class RewardConfig:
    """A reward model from rankings: InstructGPT's second step."""

    model: str = option("the SFT model to start from, by name")
    data: str = option("file: rankings JSONL, each row a prompt with its K ranked answers")
    validation: str | None = option("file: rankings JSONL that is only measured", None)
    demonstrations: str | None = option("file: chat JSONL whose answers get mean score 0 (InstructGPT 3.5)", None)
    suffix: str = option("part of the new model's name", "rm")
    epochs: float = option("passes over the data (InstructGPT C.2: 1, more overfits)", 1.0, above=0)
    batch_size: int = option("prompts a step, each with all its answers (InstructGPT C.2: 64)", 8, least=1)
    learning_rate: float = option(
        "peak; InstructGPT's 9e-6 is for 6 B parameters, small models need more", 5e-4, above=0
    )
    final_rate: float = option("share of the peak that the cosine ends at (InstructGPT: 0.1)", 0.1, least=0, most=1)
    warmup: float = option("share of the steps in which the rate rises from 0", 0.05, least=0, most=1)
    dropout: float = option("residual dropout", 0.0, least=0, most=1)
    weight_decay: float = option("decoupled, on matrices only", 0.01, least=0)
    clip: float = option("the largest gradient norm", 1.0, above=0)
    dtype: str = option(DTYPE_HELP, "float32", choices=DTYPES)
    packing: bool = option("compute a prompt once for all its answers", True)
    gradient_checkpointing: bool = option(CHECKPOINTING_HELP, False)
    seed: int = option("of the order and of the new head", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class PPOConfig:
    """Reinforcement learning against a reward model with a KL penalty: InstructGPT's third step."""

    policy: str = option("the SFT model to improve, by name; it is the KL reference too")
    reward_model: str = option("the reward model, by name; the value model starts from it (InstructGPT C.4)")
    prompts: str = option("file: JSONL of prompts; answers in it are ignored")
    ptx: str | None = option("file: pretraining text, or chat rows, mixed in as PPO-ptx (InstructGPT Eq. 2)", None)
    ptx_coefficient: float = option("weight of the mixed-in loss beside PPO's (InstructGPT: 27.8)", 27.8, least=0)
    ptx_examples: int = option("mixed-in examples for each answer of a minibatch (InstructGPT C.4: 8)", 1, least=1)
    suffix: str = option("part of the new model's name", "ppo")
    iterations: int = option("rounds of sampling and learning", 40, least=1)
    batch_size: int = option("answers sampled a round (InstructGPT: 512)", 64, least=1)
    minibatch_size: int = option("answers an optimiser step", 32, least=1)
    epochs: int = option("passes over each round's answers (InstructGPT: 1; Stiennon et al.: 4)", 1, least=1)
    max_tokens: int = option("longest sampled answer, in tokens", 40, least=1)
    learning_rate: float = option("of the policy; constant after warm-up (InstructGPT C.4)", 2e-4, above=0)
    value_learning_rate: float = option("of the value model (InstructGPT C.4: 9e-6 at 6 B parameters)", 5e-4, above=0)
    warmup_iterations: int = option("rounds in which both rates rise from a tenth (InstructGPT C.4: 10)", 5, least=0)
    kl_coefficient: float = option("beta, the price of a nat of KL per answer (InstructGPT: 0.02)", 0.05, least=0)
    kl_target: float | None = option(
        "nats per answer that beta adapts to (Ziegler et al.: 6); none keeps beta fixed", None, above=0
    )
    gae_lambda: float = option(
        "lambda of the advantage estimate (Stiennon et al.: 0.95; InstructGPT gives none)", 0.95, least=0, most=1
    )
    clip_range: float = option("of the policy ratio (InstructGPT: 0.2)", 0.2, above=0)
    value_clip_range: float = option("of the value's move from the old value (Stiennon et al.: 0.2)", 0.2, above=0)
    missing_end_penalty: float = option("taken from the score of an answer that never ends", 1.0, least=0)
    shared_trunk: bool = option(
        "make the value a head on the policy's trunk: one forward for both, at learning_rate", False
    )
    value_coefficient: float = option(
        "weight of the value loss beside the policy's on a shared trunk (Ziegler et al.: 0.1)", 0.1, least=0
    )
    lora_rank: int = option(
        "train a LoRA adapter of this rank, the reference being the policy without it; 0 trains every weight",
        0,
        least=0,
    )
    lora_alpha: int = option("scale of the adapter's change, divided by its rank (Hu et al.)", 16, least=1)
    dtype: str = option(DTYPE_HELP, "float32", choices=DTYPES)
    watch_every: int = option("rounds between two looks at best-of-4, to see mode collapse; 0 never looks", 10, least=0)
    ema: float | None = option(
        "decay a step of the averaged weights that are published (InstructGPT C.4: 0.992); none publishes the last weights",
        None,
        above=0,
        most=0.999999,
    )
    clip: float = option("the largest gradient norm", 1.0, above=0)
    seed: int = option("of the prompts' order and of every sample", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class DPOConfig:
    """Direct preference optimisation: learns from rankings without a reward model or samples."""

    model: str = option("the SFT model to improve, by name; it is the reference too")
    data: str = option("file: rankings JSONL, each row a prompt with its K ranked answers; K = 2 is a preference")
    validation: str | None = option("file: rankings JSONL that is only measured", None)
    suffix: str = option("part of the new model's name", "dpo")
    beta: float = option("price of leaving the reference (Rafailov et al. section 6: 0.1)", 0.1, above=0)
    epochs: float = option("passes over the data", 1.0, above=0)
    batch_size: int = option("prompts a step, each with all its answers (Rafailov et al.: 64)", 8, least=1)
    learning_rate: float = option(
        "peak; Rafailov et al.'s 1e-6 is for billions of parameters, small models need more", 1e-4, above=0
    )
    final_rate: float = option("share of the peak that the cosine ends at", 0.1, least=0, most=1)
    warmup: float = option("share of the steps in which the rate rises from 0", 0.1, least=0, most=1)
    weight_decay: float = option("decoupled, on matrices only", 0.0, least=0)
    clip: float = option("the largest gradient norm", 1.0, above=0)
    seed: int = option("of the order", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class GRPOConfig:
    """Reinforcement learning from groups of answers, which are each other's baseline: no value model."""

    policy: str = option("the SFT model to improve, by name; it is the KL reference too")
    prompts: str = option("file: JSONL of prompts; a rule compares with the answers in it")
    reward_model: str | None = option("a reward model, by name; its score is added to the other rewards", None)
    rule: str | None = option("a reward from the row's own answer: exact (1 where equal) or f1 (common words)", None)
    algorithm: str = option("grpo (Shao et al.) or rloo (Ahmadian et al.)", "grpo")
    suffix: str = option("part of the new model's name", "grpo")
    iterations: int = option("rounds of sampling and learning", 40, least=1)
    batch_size: int = option("prompts a round", 8, least=1)
    group_size: int = option("answers to each prompt (DeepSeekMath: 64)", 8, least=2)
    minibatch_size: int = option("answers an optimiser step", 64, least=1)
    epochs: int = option("passes over each round's answers (DeepSeekMath: 1)", 1, least=1)
    max_tokens: int = option("longest sampled answer, in tokens", 40, least=1)
    learning_rate: float = option("constant after warm-up (DeepSeekMath: 1e-6 at 7 B parameters)", 2e-4, above=0)
    warmup_iterations: int = option("rounds in which the rate rises from a tenth", 5, least=0)
    kl_coefficient: float = option("beta, the price of KL from the reference (DeepSeekMath: 0.04)", 0.04, least=0)
    clip_range: float = option("of the policy ratio (Schulman et al.: 0.2)", 0.2, above=0)
    missing_end_penalty: float = option("taken from the reward of an answer that never ends", 1.0, least=0)
    lora_rank: int = option(
        "train a LoRA adapter of this rank, the reference being the policy without it; 0 trains every weight",
        0,
        least=0,
    )
    lora_alpha: int = option("scale of the adapter's change, divided by its rank (Hu et al.)", 16, least=1)
    dtype: str = option(DTYPE_HELP, "float32", choices=DTYPES)
    clip: float = option("the largest gradient norm", 1.0, above=0)
    seed: int = option("of the prompts' order and of every sample", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)


@dataclass(frozen=True)
class RoundsConfig:
    """InstructGPT's steps 2 and 3 again and again: answers of the newest policy are ranked, and both models are made anew."""

    policy: str = option("the SFT model that every round's models start from, by name")
    prompts: str = option("file: JSONL of prompts; answers in it are ignored")
    folder: str = option("where the rounds' answers and rankings are kept; the same folder goes on")
    validation: str | None = option(
        "file: prompts on which a round's policy is compared with the last recommended one; none compares on those it learned from",
        None,
    )
    rounds: int = option("how often the answers are ranked and the models made", 2, least=1)
    judge: str | None = option(
        "a chat model or a reward model that ranks and compares; none waits for a person's ranks (chaintune data label)",
        None,
    )
    answers: int = option("answers to a prompt that are ranked (InstructGPT: 4 to 9)", 4, least=2, most=9)
    suffix: str = option("part of the new models' names", "loop")
    reward_epochs: float = option(
        "the reward model's passes over the rankings of all rounds (InstructGPT: 1)", 1.0, above=0
    )
    reward_learning_rate: float = option("the reward model's peak", 5e-4, above=0)
    iterations: int = option("PPO's rounds of sampling and learning", 40, least=1)
    batch_size: int = option("PPO's answers a round of its own", 64, least=1)
    minibatch_size: int = option("PPO's answers an optimiser step", 32, least=1)
    learning_rate: float = option("of PPO's policy", 2e-4, above=0)
    kl_coefficient: float = option("PPO's beta", 0.05, least=0)
    ptx: str | None = option("file: pretraining text, or chat rows, mixed into PPO", None)
    ptx_coefficient: float = option("weight of the mixed-in loss", 27.8, least=0)
    max_tokens: int = option("longest answer, in tokens", 40, least=1)
    seed: int = option("of everything", 0, least=0, most=MAX_SEED)
    device: str | None = option(DEVICE_HELP, None, choices=DEVICES, beside=True)
    tensorboard: bool = option(TENSORBOARD_HELP, False, beside=True)
