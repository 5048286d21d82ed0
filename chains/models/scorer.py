"""A reward model, run: one number for an answer to a conversation.

The weights are a transformers `…ForSequenceClassification` folder with one label, so other tools load it too; the shift that puts
demonstrations at mean 0 (InstructGPT, arXiv 2203.02155, section 3.5) is `shift` in its `meta.json` and is subtracted here.
Shapes: B rows, T positions.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from chains.errors import ContextError, UsageError
from chains.models import registry, weights

Messages = Sequence[dict[str, Any]]


def read_scores(model: Any, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return each row's score (B,), read at its last real token.

    `ids` is (B, T), padded on the right; `lengths` (B,) counts the real tokens. The place comes from the length, never from a pad id,
    so a model whose pad and end tokens are the same is read right. Causal attention keeps the padding out.
    """
    hidden = model.base_model(input_ids=ids).last_hidden_state  # (B, T, D)
    last = hidden[torch.arange(ids.shape[0], device=ids.device), lengths - 1]  # (B, D)
    return model.score(last)[:, 0].float()


def pad_right(rows: Sequence[Sequence[int]], device: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows as one (B, T) tensor padded on the right with 0, and their lengths (B,)."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    return ids, torch.tensor([len(row) for row in rows], device=device)


def through_end(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Return a conversation's ids up to its last end-of-turn token, without the white space that many templates put behind it.

    A model stops at that token, so what it said ends there: a reward model is trained and read at the same place.
    """
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    end = len(ids)
    while end and ids[end - 1] not in special and not tokenizer.decode([ids[end - 1]]).strip():
        end -= 1
    return list(ids[:end] if end and ids[end - 1] in special else ids)


def check_head(model: Any, name: str) -> None:
    """Raise UsageError unless the model's head is one scalar, which `read_scores` can read."""
    if getattr(model.config, "num_labels", 0) != 1 or not hasattr(model, "score"):
        raise UsageError(
            f"{name!r} is a {type(model).__name__} with {model.config.num_labels} labels; a reward model has a "
            "decoder's trunk and one label, as chaintune tune rm makes it"
        )


class Scorer:
    """A reward model in memory."""

    def __init__(self, model: Any, tokenizer: Any, shift: float = 0.0, max_batch: int = 64) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.shift = shift
        self.max_batch = max_batch

    def score(self, messages: Messages, answer: str) -> float:
        """Return the score of `answer` as the assistant's next turn; demonstrations average 0."""
        return self.score_many([(messages, answer)])[0]

    def score_many(self, pairs: Sequence[tuple[Messages, str]]) -> list[float]:
        """Return the score of every (messages, answer), in the order given."""
        rows = [self._ids(messages, answer) for messages, answer in pairs]
        return self.score_ids(rows)

    def score_ids(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return the score of every conversation given as token ids, each ending with its end-of-turn token."""
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = [0.0] * len(rows)
        for first in range(0, len(order), self.max_batch):
            places = order[first : first + self.max_batch]
            ids, lengths = pad_right([rows[i] for i in places], self.model.device)
            with torch.inference_mode():
                values = read_scores(self.model, ids, lengths) - self.shift
            for place, value in zip(places, values.tolist(), strict=True):
                scores[place] = value
        return scores

    def _ids(self, messages: Messages, answer: str) -> list[int]:
        turns = [*messages, {"role": "assistant", "content": answer}]
        ids = self.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False, sanitize_control_tokens=True)
        context = getattr(self.model.config, "max_position_embeddings", None)
        if context and len(ids) > context:
            raise ContextError(len(ids), context, "conversation", "reward model")
        return through_end(self.tokenizer, ids)


def forget() -> None:
    """Keep no reward model for those who may come."""
    _load.cache_clear()


@lru_cache(maxsize=4)
def _load(path: str, changed: int) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with weights.quiet(bars=not Path(path).is_dir()):
        model = AutoModelForSequenceClassification.from_pretrained(
            path, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        return model, AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def load_scorer(name: str) -> Scorer:
    """Return the registered reward model `name`. Raises UsageError where there is none, or where it is a chat model."""
    entry = registry.find(name)
    if entry.kind != "reward":
        raise UsageError(f"{name!r} is a chat model and scores nothing; make a reward model with: chaintune tune rm")
    model, tokenizer = _load(entry.source, weights.changed(entry.source))
    check_head(model, name)
    return Scorer(model, tokenizer, float(entry.meta.get("shift", 0.0)))
