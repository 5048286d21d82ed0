"""How the next token is drawn: temperature, top-k, top-p, and one random stream per row.

Shapes: B rows, V vocabulary. A row draws one uniform number a token from its own generator and inverts its cumulative distribution,
so what a row samples depends on its seed alone, never on what else is in the batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from chains.errors import ModelError, UsageError


@dataclass(frozen=True)
class Sampling:
    """The settings of one request."""

    max_tokens: int = 256
    """The most tokens to generate, the end-of-turn token included."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int = 0
    """Keep only this many likeliest tokens; 0 keeps all."""
    top_p: float = 1.0
    """Of those, keep the fewest likeliest tokens whose share adds up to this; 1 keeps all (nucleus sampling, arXiv 1904.09751)."""
    seed: int | None = None
    """The row's random stream; None draws a fresh one."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""

    def __post_init__(self) -> None:
        checks = [
            (self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number of at least 1"),
            (0 <= self.temperature <= 100, "temperature", self.temperature, "a number from 0 to 100"),
            (0 < self.top_p <= 1, "top_p", self.top_p, "a number above 0 and at most 1"),
            (self.top_k >= 0, "top_k", self.top_k, "a whole number of at least 0"),
            (
                self.seed is None or -(2**63) <= self.seed < 2**64,
                "seed",
                self.seed,
                "a whole number of at most 64 bits",
            ),
            (all(self.stop), "stop", list(self.stop), "texts that are not empty"),
        ]
        for good, field, value, expected in checks:
            if not good:
                raise UsageError(f"{field}={value!r} cannot be used; expected {expected}")


def generator(seed: int | None) -> torch.Generator:
    """Return a random stream on the CPU, the same on every device; each of the seed's 64 bits counts."""
    stream = torch.Generator()
    if seed is None:
        stream.seed()
    else:
        stream.manual_seed(seed if 0 <= seed < 2**32 else _folded(seed))
    return stream


def _folded(seed: int) -> int:
    """Return 32 bits that all bits of `seed` decide: torch's CPU stream looks at the lowest 32 alone."""
    return int.from_bytes(hashlib.blake2b(seed.to_bytes(9, "little", signed=True), digest_size=4).digest(), "little")


def choose(
    logits: torch.Tensor, rows: Sequence[Sampling], streams: Sequence[torch.Generator]
) -> tuple[list[int], list[float]]:
    """Return each row's next token and its log-probability under the model itself (temperature 1, nothing cut off).

    `logits` is (B, V) in any float type. Raises ModelError where a row's logits are not finite.
    """
    logits = logits.float()
    if not torch.isfinite(logits).all():
        raise ModelError(
            "the model's logits are not finite (NaN or infinity); its weights are broken or its training diverged"
        )
    logps = torch.log_softmax(logits, dim=-1)  # (B, V)
    tokens = logits.argmax(dim=-1)  # (B,)
    drawn = [i for i, row in enumerate(rows) if row.temperature > 0]
    if drawn:
        tokens[drawn] = _draw(logits[drawn], [rows[i] for i in drawn], [streams[i] for i in drawn])
    chosen = logps.gather(1, tokens[:, None])[:, 0]
    return tokens.tolist(), chosen.tolist()


def _draw(logits: torch.Tensor, rows: Sequence[Sampling], streams: Sequence[torch.Generator]) -> torch.Tensor:
    # below 1e-4 the likeliest token is certain, and the division would overflow
    temperature = torch.tensor([max(row.temperature, 1e-4) for row in rows], device=logits.device)[:, None]
    probs, order = torch.softmax(logits / temperature, dim=-1).sort(dim=-1, descending=True)  # (B, V)
    probs = _truncate(probs, rows)
    total = probs.double().cumsum(dim=-1)  # (B, V)
    uniform = torch.tensor(
        [torch.rand((), generator=stream, dtype=torch.float64).item() for stream in streams], device=logits.device
    )
    place = torch.searchsorted(total, (uniform * total[:, -1])[:, None], right=True)  # (B, 1)
    last = (probs > 0).sum(dim=-1, keepdim=True) - 1
    return order.gather(1, torch.minimum(place, last))[:, 0]


def _truncate(probs: torch.Tensor, rows: Sequence[Sampling]) -> torch.Tensor:
    """Return `probs` (sorted, falling) with what top-k and then top-p leave out at 0; the likeliest token always stays."""
    if any(row.top_k for row in rows):
        rank = torch.arange(probs.shape[-1], device=probs.device)[None, :]
        top_k = torch.tensor([row.top_k or probs.shape[-1] for row in rows], device=probs.device)[:, None]
        probs = probs.masked_fill(rank >= top_k, 0)
    if any(row.top_p < 1 for row in rows):
        top_p = torch.tensor([row.top_p for row in rows], device=probs.device)[:, None]
        before = probs.cumsum(dim=-1) - probs
        probs = probs.masked_fill((before >= top_p * probs.sum(dim=-1, keepdim=True)) & (top_p < 1), 0)
    return probs
