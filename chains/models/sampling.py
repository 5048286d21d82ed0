"""How the next token is drawn, row by row: what a request asks of it, the state that a row carries, and the choice itself.

Shapes: B rows, V vocabulary. The order is: `logit_bias`, repetition penalty, presence and frequency penalties, the constraint's mask,
temperature, top-k, top-p, min-p. Bias and penalties stand where OpenAI's API puts them (on the model's own logits), the mask after them so
that nothing brings back what the constraint forbids, and the filters as transformers' `generate` orders them. A token as likely
as the last one that top-k or top-p keeps is kept too.

A row draws one uniform number a token from its own generator and inverts its cumulative distribution over the vocabulary, so what it
samples depends on its seed alone, never on what else is in the batch.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from chains.errors import ModelError, UsageError
from chains.models.constraint import Matcher
from chains.models.penalties import Seen, add_bias, presence_and_frequency, repetition
from chains.models.truncate import Filters
from chains.models.truncate import draw as drawn

MOST_LOGPROBS = 20
"""As OpenAI's."""


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
    min_p: float = 0.0
    """Drop the tokens less likely than this times the likeliest (arXiv 2407.01082); 0 keeps all."""
    repetition_penalty: float = 1.0
    """Makes each token of the prompt and the answer so far less likely above 1, likelier below (CTRL, arXiv 1909.05858)."""
    presence_penalty: float = 0.0
    """Taken from the logit of each token that the answer holds already, -2 to 2, as OpenAI's."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit once for each time that the answer holds it, -2 to 2, as OpenAI's."""
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    """Added to the logits of these tokens, -100 to 100; -100 bans a token."""
    logprobs: bool = False
    """Report the log-probability of each token that was sampled."""
    top_logprobs: int = 0
    """And the likeliest tokens at its place, so many, 0 to 20."""
    ignore_ends: bool = False
    """An end token is a token like others and the answer goes on to max_tokens: for benchmarks. It can be sampled and is no text."""
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
            (0 <= self.min_p <= 1, "min_p", self.min_p, "a number from 0 to 1"),
            (
                0.01 <= self.repetition_penalty <= 100,
                "repetition_penalty",
                self.repetition_penalty,
                "a number from 0.01 to 100, 1 for none",
            ),
            (-2 <= self.presence_penalty <= 2, "presence_penalty", self.presence_penalty, "a number from -2 to 2"),
            (-2 <= self.frequency_penalty <= 2, "frequency_penalty", self.frequency_penalty, "a number from -2 to 2"),
            (
                all(token >= 0 and -100 <= value <= 100 for token, value in self.logit_bias.items()),
                "logit_bias",
                dict(self.logit_bias),
                "token ids of at least 0 with numbers from -100 to 100",
            ),
            (0 <= self.top_logprobs <= MOST_LOGPROBS, "top_logprobs", self.top_logprobs, "a whole number from 0 to 20"),
            (self.logprobs or not self.top_logprobs, "top_logprobs", self.top_logprobs, "logprobs=True beside it"),
            (
                self.seed is None or -(2**63) <= self.seed < 2**64,
                "seed",
                self.seed,
                "a whole number of at most 64 bits",
            ),
            (all(self.stop), "stop", list(self.stop), "texts that are not empty"),
        ]
        for good, name, value, expected in checks:
            if not good:
                raise UsageError(f"{name}={value!r} cannot be used; expected {expected}")

    def check_tokens(self, vocab_size: int) -> None:
        """Raise UsageError where `logit_bias` names a token that a model of `vocab_size` tokens does not have."""
        if any(token >= vocab_size for token in self.logit_bias):
            token = max(self.logit_bias)
            raise UsageError(f"logit_bias names token {token}, and the model's tokens are 0 to {vocab_size - 1}")


class Draw:
    """The state of one row: its random stream, the tokens that penalties count, its matcher."""

    def __init__(self, sampling: Sampling, prompt_ids: Sequence[int], matcher: Matcher | None = None) -> None:
        """Raises UsageError where `ignore_ends` meets a matcher."""
        if matcher and sampling.ignore_ends:
            raise UsageError("ignore_ends=True cannot be used with a constraint, whose text ends where it is complete")
        self.sampling = sampling
        self.matcher = matcher
        self.stream = generator(sampling.seed)
        self._seen = Seen(prompt_ids) if sampling.repetition_penalty != 1 else None  # prompt and answer
        self._said = Seen() if sampling.presence_penalty or sampling.frequency_penalty else None  # the answer

    @property
    def changes_logits(self) -> bool:
        """Whether anything is done to the logits before the temperature."""
        return any([self.sampling.logit_bias, self._seen, self._said, self.matcher])

    def change(self, logits: torch.Tensor) -> None:
        """Change this row's logits, (V,), in place: bias, penalties, and -inf for what the constraint forbids.

        Raises UsageError for a bias on a token that is not there, ModelError where the constraint cannot go on.
        """
        sampling = self.sampling
        if sampling.logit_bias:
            sampling.check_tokens(len(logits))
            add_bias(logits, sampling.logit_bias)
        if self._seen:
            repetition(logits, self._seen, sampling.repetition_penalty)
        if self._said:
            presence_and_frequency(logits, self._said, sampling.presence_penalty, sampling.frequency_penalty)
        if self.matcher:
            logits.masked_fill_(~self.matcher.allowed().to(logits.device), float("-inf"))

    def take(self, token: int) -> None:
        """Record the token that was chosen."""
        for seen in (self._seen, self._said):
            if seen:
                seen.add(token)
        if self.matcher:
            self.matcher.take(token)


@dataclass(frozen=True)
class Chosen:
    """A row's next token."""

    token: int
    logprob: float | None
    """Under the model itself: temperature 1, nothing added or cut off. None where it was not asked for."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens with theirs, likeliest first; as many as asked for."""


def choose(logits: torch.Tensor, draws: Sequence[Draw]) -> list[Chosen | ModelError]:
    """Return each row's next token and record it in its Draw; a row that cannot go on gets the error instead.

    `logits` is (B, V) in any float type and stays as it is. A row of NaN or infinity is the model's fault; -inf rules a token out.
    """
    peaks, likeliest = logits.max(dim=-1)  # (B,), (B,)
    tokens: list[int | ModelError] = [
        token if sound else _not_finite()
        for token, sound in zip(likeliest.tolist(), peaks.isfinite().tolist(), strict=True)
    ]
    sound = [i for i, token in enumerate(tokens) if isinstance(token, int)]
    picked = [i for i in sound if draws[i].sampling.temperature > 0 or draws[i].changes_logits]
    for i, token in zip(picked, _pick(logits, picked, [draws[i] for i in picked]), strict=True):
        tokens[i] = token
    reports = _reports(logits, tokens, draws)
    return [
        _recorded(token, draw, *reports.get(i, (None, ())))
        for i, (token, draw) in enumerate(zip(tokens, draws, strict=True))
    ]


def _recorded(
    token: int | ModelError, draw: Draw, logprob: float | None, top: tuple[tuple[int, float], ...]
) -> Chosen | ModelError:
    if isinstance(token, ModelError):
        return token
    try:
        draw.take(token)
    except ModelError as error:
        return error
    return Chosen(token, logprob, top)


def _pick(logits: torch.Tensor, rows: Sequence[int], draws: Sequence[Draw]) -> list[int | ModelError]:
    """Return the tokens of `rows`, whose settings ask for more than the likeliest token of the logits as they are."""
    if not rows:
        return []
    scores = logits[rows].float()  # (b, V), a copy
    changed = [i for i, draw in enumerate(draws) if draw.changes_logits]
    errors = {i: error for i in changed if (error := _changed(scores[i], draws[i]))}
    warm = [i for i, draw in enumerate(draws) if draw.sampling.temperature > 0 and i not in errors]
    tokens = scores.argmax(dim=-1) if len(warm) < len(rows) else torch.empty(len(rows), dtype=torch.long)
    if warm:
        tokens[warm] = _sample(scores if len(warm) == len(rows) else scores[warm], [draws[i] for i in warm]).to(
            tokens.device
        )
    return [errors.get(i, token) for i, token in enumerate(tokens.tolist())]


def _changed(scores: torch.Tensor, draw: Draw) -> ModelError | None:
    """Change the row's scores in place; return what kept it from that."""
    try:
        draw.change(scores)
    except (ModelError, UsageError) as error:
        return ModelError(str(error))
    if scores.max() == float("-inf"):
        return ModelError("logit_bias bans every token that could come next; ban fewer tokens")
    return None


def _sample(scores: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Return a token a row, (b,), changing `scores`."""
    # below 1e-4 the likeliest token is certain, and the division would overflow
    temperature = [max(draw.sampling.temperature, 1e-4) for draw in draws]
    scores.div_(torch.tensor(temperature, device=scores.device)[:, None])
    uniform = [torch.rand((), generator=draw.stream, dtype=torch.float64).item() for draw in draws]
    filters = [Filters(draw.sampling.top_k, draw.sampling.top_p, draw.sampling.min_p) for draw in draws]
    return drawn(scores, filters, torch.tensor(uniform, dtype=torch.float64, device=scores.device))


def _reports(
    logits: torch.Tensor, tokens: Sequence[int | ModelError], draws: Sequence[Draw]
) -> dict[int, tuple[float, tuple[tuple[int, float], ...]]]:
    """Return the log-probability and the likeliest tokens of each row that asks for them."""
    rows = [i for i, draw in enumerate(draws) if draw.sampling.logprobs and isinstance(tokens[i], int)]
    if not rows:
        return {}
    own = logits[rows].float()  # (b, V)
    norm = own.logsumexp(dim=-1, keepdim=True)  # (b, 1)
    chosen = own.gather(1, torch.tensor([[tokens[i]] for i in rows], device=own.device)) - norm  # (b, 1)
    top: list[tuple[tuple[int, float], ...]] = [()] * len(rows)
    if any(draws[i].sampling.top_logprobs for i in rows):
        values, places = own.topk(
            min(MOST_LOGPROBS, own.shape[-1]), dim=-1
        )  # as many for every row, so that ties fall alike
        pairs = zip(places.tolist(), (values - norm).tolist(), strict=True)
        top = [
            tuple(zip(*pair, strict=True))[: draws[i].sampling.top_logprobs]
            for i, pair in zip(rows, pairs, strict=True)
        ]
    return {i: (logprob, best) for i, (logprob,), best in zip(rows, chosen.tolist(), top, strict=True)}


def _not_finite() -> ModelError:
    return ModelError(
        "the model's logits are not finite (NaN or infinity); its weights are broken or its training diverged"
    )


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
