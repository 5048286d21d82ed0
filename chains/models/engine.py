"""The one place where a model generates: requests in, tokens out. It knows tokens, not chats.

Chains, the chat page and PPO's rollouts all come here. This engine runs left-padded batches in the order of prompt length, lets finished rows leave,
and gives each row its own limits, stop texts and random stream, so a row's tokens do not depend on what else is in the batch.
Shapes: B rows in flight, T positions so far.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from chains.errors import ModelError, UsageError
from chains.models.constraint import Compiler, Constraint
from chains.models.detokenize import TextStream
from chains.models.sampling import Chosen, Draw, Sampling, choose

__all__ = ["Completion", "Constraint", "Engine", "Request", "Sampling"]


@dataclass(frozen=True)
class Request:
    """What to continue, and how."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Completion:
    """What came out: `token_ids` with the end-of-turn token where it was sampled, `text` without it and without the stop text."""

    token_ids: list[int]
    logprobs: list[float]
    """Of each token, where `Sampling.logprobs` asks for them; else empty."""
    text: str
    finish_reason: str
    """`stop`: the model ended its turn or a stop text came; `length`: max_tokens or the model's context was used up."""
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    """The likeliest tokens at each token's place, likeliest first, where `Sampling.top_logprobs` asks for them; else empty."""


class _Row:
    """One request in flight."""

    def __init__(self, place: int, request: Request, draw: Draw, room: int, tokenizer: Any, watch: bool) -> None:
        self.place = place
        self.prompt = request.prompt_ids
        self.sampling = request.sampling
        self.limit = min(request.sampling.max_tokens, room)
        self.draw = draw
        self.text = TextStream(tokenizer, request.sampling.stop)
        self.watch = watch or bool(request.sampling.stop)  # text is needed at every token, not only at the end
        self.pieces: list[str] = []
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.top_logprobs: list[list[tuple[int, float]]] = []
        self.finish: str | None = None

    def take(self, chosen: Chosen, ends: frozenset[int]) -> None:
        token = chosen.token
        self.tokens.append(token)
        if chosen.logprob is not None:
            self.logprobs.append(chosen.logprob)
        if self.sampling.top_logprobs:
            self.top_logprobs.append(list(chosen.top))
        if token in ends and not self.sampling.ignore_ends:
            self.finish = "stop"
        elif self.watch:
            self.pieces.append(self.text.add(token))
            if self.text.stopped:
                self.finish = "stop"
        if self.finish is None and len(self.tokens) >= self.limit:
            self.finish = "length"
        if self.finish and self.watch:
            self.pieces.append(self.text.finish())

    def completion(self, tokenizer: Any, ends: frozenset[int]) -> Completion:
        said = [token for token in self.tokens if token not in ends]
        text = (
            "".join(self.pieces)
            if self.watch
            else tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )
        return Completion(self.tokens, self.logprobs, text, self.finish or "length", self.top_logprobs)


class Engine:
    """Generates with a transformers causal model and its tokenizer, both in memory."""

    def __init__(self, model: Any, tokenizer: Any, max_batch: int = 64) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_batch = max_batch
        self.context: int = getattr(model.config, "max_position_embeddings", None) or 2**31
        self.ends = _end_ids(model, tokenizer)
        self._forward = threading.Lock()
        self._compiler: Compiler | None = None

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return each request's completion, in the order asked.

        Raises UsageError where a prompt is empty or leaves no room in the model's context, before anything runs.
        """
        rows = [self._row(place, request, watch=False) for place, request in enumerate(requests)]
        order = sorted(rows, key=lambda row: (len(row.prompt), row.place))
        for first in range(0, len(order), self.max_batch):
            for _ in self._run(order[first : first + self.max_batch]):
                pass
        return [row.completion(self.tokenizer, self.ends) for row in rows]

    def stream(self, request: Request) -> Iterator[str | Completion]:
        """Yield the answer's text as it becomes certain, then the Completion."""
        row = self._row(0, request, watch=True)
        sent = 0
        for _ in self._run([row]):
            for piece in row.pieces[sent:]:
                if piece:
                    yield piece
            sent = len(row.pieces)
        yield row.completion(self.tokenizer, self.ends)

    def weights_changed(self) -> None:
        """Say that the model's weights were trained since the last call. Nothing is kept between calls here, so nothing is stale."""

    def _row(self, place: int, request: Request, watch: bool) -> _Row:
        length = len(request.prompt_ids)
        if not length:
            raise UsageError(f"request {place + 1} has an empty prompt; give at least one token")
        if length >= self.context:
            raise UsageError(
                f"the prompt is {length} tokens long and the model's context is {self.context}; "
                "shorten the prompt, the history or the passages"
            )
        vocab_size = self.model.config.get_text_config().vocab_size
        request.sampling.check_tokens(vocab_size)
        matcher = None
        if request.constraint:
            self._compiler = self._compiler or Compiler(self.tokenizer, vocab_size, self.ends)
            matcher = self._compiler.matcher(request.constraint)
        draw = Draw(request.sampling, request.prompt_ids, matcher)
        return _Row(place, request, draw, self.context - length, self.tokenizer, watch)

    def _run(self, rows: list[_Row]) -> Iterator[None]:
        """Decode `rows` together, one token each a turn, until all have finished."""
        device = self.model.device
        width = max(len(row.prompt) for row in rows)
        ids = torch.tensor(
            [[0] * (width - len(row.prompt)) + list(row.prompt) for row in rows], device=device
        )  # (B, T)
        mask = torch.tensor(
            [[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=device
        )  # 1: real
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)  # (B, T)
        cache = DynamicCache(config=self.model.config)
        while rows:
            logits = self._step(ids, mask, positions, cache)  # (B, V)
            for row, chosen in zip(rows, choose(logits, [row.draw for row in rows]), strict=True):
                if isinstance(chosen, ModelError):
                    raise chosen
                row.take(chosen, self.ends)
            yield
            stay = [i for i, row in enumerate(rows) if row.finish is None]
            if len(stay) < len(rows):
                cache.batch_select_indices(torch.tensor(stay, dtype=torch.long, device=device))
                rows, mask, positions = [rows[i] for i in stay], mask[stay], positions[stay]
            ids = torch.tensor([[row.tokens[-1]] for row in rows], device=device)  # (B, 1)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
            positions = positions[:, -1:] + 1

    def _step(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        with self._forward, torch.inference_mode():
            training = self.model.training
            self.model.eval()
            try:
                out = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
            finally:
                self.model.train(training)
            return out.logits[:, -1]


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id] if i is not None)
