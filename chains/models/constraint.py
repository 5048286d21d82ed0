"""Answers that cannot be malformed: which tokens may come next under a JSON schema, a regex, a list of choices or a grammar.

llguidance keeps the parser's state and computes the mask. JSON is compact, with no whitespace between its parts, so that a model
cannot fill its answer with it; a schema's properties come in the schema's order. Special tokens are no text and never allowed.
Shape: V vocabulary.

Why llguidance (1.9.1) and not xgrammar (0.2.8): of 43 JSON Schema keywords it holds 34 and refuses 7 by name, and 2 let a wrong
answer through, which json_schema.py mends; xgrammar holds 28 and lets wrong answers through under 12 (`allOf`, `not`, `uniqueItems`, a
pattern's `maxLength`), mostly without a word. Over 104 schemas and a vocabulary of 131,072, compiling one takes 1.3 ms (worst 14)
where xgrammar takes 90 (worst 2,790), and a token's mask and step 0.24 ms against 0.33; at 8,000 tokens 0.035 against 0.029.
tests/bench/constrained.py measures it again.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from pydantic import BaseModel

from chains.errors import ModelError, UsageError
from chains.models.json_schema import prepared

KEPT_GRAMMARS = 256
"""How many compiled grammars a Compiler keeps; the one not used for longest goes first."""

STRICT: Any = {
    "whitespace_flexible": False,  # JSON is compact
    "lenient": False,
    "coerce_one_of": False,
    "json_allowed_escapes": 'nrbtf\\"',  # without u: a key spelled "\u0061" would be "a" once more, under another schema
}


@dataclass(frozen=True)
class Constraint:
    """What an answer must be. Made by `json_schema`, `regex`, `choice` or `grammar`."""

    kind: Literal["json_schema", "regex", "choice", "grammar"]
    text: str
    """The schema's JSON, the regex, a JSON list of the choices, or a grammar in llguidance's Lark."""

    @classmethod
    def json_schema(cls, schema: dict[str, Any] | type[BaseModel]) -> "Constraint":
        """JSON that the schema, or the pydantic model, accepts."""
        body = schema if isinstance(schema, dict) else schema.model_json_schema()
        return cls("json_schema", json.dumps(body, ensure_ascii=False))

    @classmethod
    def regex(cls, pattern: str) -> "Constraint":
        """Text that the pattern matches from beginning to end."""
        return cls("regex", pattern)

    @classmethod
    def choice(cls, options: Iterable[str]) -> "Constraint":
        """One of the options. Raises UsageError where there is none, or an empty one."""
        listed = list(options)
        if not listed or not all(listed):
            raise UsageError(f"the choices {listed!r} cannot be used; expected at least one, none of them empty")
        return cls("choice", json.dumps(listed, ensure_ascii=False))

    @classmethod
    def quote(cls, texts: Iterable[str]) -> "Constraint":
        """A run of whole words that stands in one of the texts, or nothing. Raises UsageError where there is no text."""
        listed = list(dict.fromkeys(texts))
        if not any(listed):
            raise UsageError("there is nothing to quote from; expected at least one text that is not empty")
        names = [f"quote{place}" for place in range(len(listed))]
        rules = (
            f"{name}: %regex {json.dumps({'substring_words': text}, ensure_ascii=False)}"
            for name, text in zip(names, listed, strict=True)
        )
        return cls("grammar", "\n".join([f"start: {' | '.join(names)}", *rules]))

    @classmethod
    def grammar(cls, lark: str) -> "Constraint":
        """Text that the grammar's rule `start` derives."""
        return cls("grammar", lark)


class Matcher:
    """One row's progress through its constraint."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    @property
    def finished(self) -> bool:
        """Whether the text is complete: only an end token may come."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> torch.Tensor:
        """Return which tokens may come next, (V,) bool: end tokens exactly where the text may end here.

        Raises ModelError where the parser gave up: the grammar is too ambiguous or too large for its limits.
        """
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)  # (V / 8,), rounded up to whole words
        self._check()
        bits = np.unpackbits(packed, count=self._vocab_size, bitorder="little")
        return torch.from_numpy(bits.view(np.bool_))

    def take(self, token: int) -> None:
        """Go on by one token. Raises ModelError for one that is not allowed."""
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ModelError(f"the constraint cannot be followed any further: {_reason(self._matcher.get_error())}")


class Compiler:
    """Makes matchers for one tokenizer; what it compiled it keeps, so the next answer under the same constraint starts at once."""

    def __init__(self, tokenizer: Any, vocab_size: int, ends: Iterable[int]) -> None:
        """`vocab_size` is the model's, which may be larger than the tokenizer's; `ends` are the tokens that end an answer.

        Raises UsageError for a tokenizer that is not one of the tokenizers library.
        """
        self._tokenizer = _tokens(tokenizer, vocab_size, sorted(ends))
        self._vocab_size = vocab_size
        self._kept: OrderedDict[Constraint, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def matcher(self, constraint: Constraint) -> Matcher:
        """Return a matcher at the beginning of its text. Raises UsageError for what cannot be enforced, naming it."""
        with self._lock:
            compiled = self._kept.get(constraint) or self._compile(constraint)
            self._kept[constraint] = compiled
            self._kept.move_to_end(constraint)
            while len(self._kept) > KEPT_GRAMMARS:
                self._kept.popitem(last=False)
            return Matcher(compiled.deep_copy(), self._vocab_size)

    def _compile(self, constraint: Constraint) -> LLMatcher:
        compiled = LLMatcher(self._tokenizer, _grammar(constraint), log_level=0)
        if compiled.is_error():
            raise UsageError(f"the {constraint.kind} cannot be used: {_reason(compiled.get_error())}")
        return compiled


def _grammar(constraint: Constraint) -> str:
    match constraint.kind:
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(prepared(constraint.text), overrides=STRICT)
        case "regex":
            return LLMatcher.grammar_from_regex(constraint.text)
        case "choice":
            options = (json.dumps(option, ensure_ascii=False) for option in json.loads(constraint.text))
            return LLMatcher.grammar_from_lark(f"start: {' | '.join(options)}")
        case "grammar":
            return LLMatcher.grammar_from_lark(constraint.text)


def _tokens(tokenizer: Any, vocab_size: int, ends: Sequence[int]) -> LLTokenizer:
    from llguidance.hf import from_tokenizer

    try:
        return from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=list(ends))
    except ValueError as error:
        raise UsageError(f"constrained answers need a tokenizer of the tokenizers library: {error}") from None


def _reason(message: str) -> str:
    """Return what is wrong from one of llguidance's messages, which may quote the source over several lines."""
    lines = message.strip().splitlines()
    return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
