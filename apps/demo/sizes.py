"""How big the demo is: chosen so that the whole of it fits in five minutes on two cores, or, quick, in half a minute."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The numbers of one demo."""

    facts: int | None
    """How many facts are shown; None shows all but the hidden ones."""
    pretrain_steps: int
    width: int
    sft_epochs: float
    sft_rate: float
    """SFT's peak learning rate: the quick demo hurries."""
    answers: int
    """K: answers sampled for each ranked question (InstructGPT: 4 to 9)."""
    rm_epochs: float
    iterations: int
    batch_size: int
    measured: int
    """At most this many questions of a group are measured."""


FULL = Sizes(
    facts=None,
    pretrain_steps=220,
    width=192,
    sft_epochs=6.5,
    sft_rate=2e-3,
    answers=6,
    rm_epochs=1,
    iterations=24,
    batch_size=64,
    measured=200,
)
QUICK = Sizes(
    facts=2,
    pretrain_steps=10,
    width=96,
    sft_epochs=10,
    sft_rate=5e-3,
    answers=6,
    rm_epochs=1,
    iterations=2,
    batch_size=8,
    measured=8,
)
