"""How big the demo is: chosen so that the whole of it fits in five minutes on two cores, or, quick, in half a minute."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one demo."""

    pretrain_steps: int
    width: int
    sft_epochs: float
    answers: int
    """K: answers sampled for each ranked question (InstructGPT: 4 to 9)."""
    rankings: int | None
    """How many questions are ranked; None takes them all."""
    rm_epochs: float
    iterations: int
    batch_size: int
    measured: int
    """At most this many questions of a group are measured."""


FULL = Sizes(
    pretrain_steps=300,
    width=192,
    sft_epochs=16,
    answers=6,
    rankings=None,
    rm_epochs=1,
    iterations=20,
    batch_size=64,
    measured=200,
)
QUICK = Sizes(
    pretrain_steps=12,
    width=48,
    sft_epochs=1,
    answers=4,
    rankings=24,
    rm_epochs=1,
    iterations=2,
    batch_size=8,
    measured=8,
)
