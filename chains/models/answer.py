"""What the engine made of a prompt, as LangChain's messages: text and calls, token counts, why it ended, log-probabilities."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from chains.models import reply
from chains.models.asked import Asked
from chains.models.reply import Reader
from chains.models.structured import truncated
from chains.models.tool_forms import Said

if TYPE_CHECKING:
    from chains.models.engine import Completion


@dataclass(frozen=True)
class Answer:
    """The completions of one prompt, and what is needed to read them."""

    completions: Sequence["Completion"]
    prompt_tokens: int
    asked: Asked
    reader: Reader
    model_name: str

    def result(self) -> ChatResult:
        """Return a generation for each completion. Raises TruncatedError where a call was demanded and the first was cut off."""
        return ChatResult(generations=[ChatGeneration(message=self._message(each)) for each in self.completions])

    def first(self) -> AIMessage:
        """Return the first completion's message. Raises TruncatedError as result does."""
        return self._message(self.completions[0])

    def _message(self, completion: "Completion") -> AIMessage:
        said = self.reader.read(completion.text)
        self.check_whole(completion, said)
        return AIMessage(**reply.fields(said), **self.facts(completion, said))

    def check_whole(self, completion: "Completion", said: Said) -> None:
        """Raise TruncatedError where a call was demanded, and reached its limit before it was one."""
        demanded = self.asked.tools is not None and self.asked.tools.forced and not self.asked.keep_cut
        whole = said.calls and all(call.error is None for call in said.calls)
        if demanded and completion.finish_reason == "length" and not whole:
            raise truncated(completion.text)

    def facts(self, completion: "Completion", said: Said) -> dict[str, Any]:
        """Return a message's token counts, and why (`stop`, `length`, `tool_calls`) and by whom it ended."""
        written = len(completion.token_ids)
        called = completion.finish_reason == "stop" and any(call.error is None for call in said.calls)
        ended = "tool_calls" if called else completion.finish_reason
        told: dict[str, Any] = {"finish_reason": ended, "model_name": self.model_name}
        if self.asked.settings.logprobs:
            told["logprobs"] = {"content": token_logprobs(self.reader.tokenizer, completion)}
        return {
            "usage_metadata": UsageMetadata(
                input_tokens=self.prompt_tokens, output_tokens=written, total_tokens=self.prompt_tokens + written
            ),
            "response_metadata": told,
        }


def token_logprobs(tokenizer: Any, completion: "Completion") -> list[dict[str, Any]]:
    """Return OpenAI's shape: a token, its log-probability, its bytes, and the likeliest in its place; the end of the turn included."""
    others = completion.top_logprobs or [[] for _ in completion.token_ids]
    return [
        {**named_token(tokenizer, token, logprob), "top_logprobs": [named_token(tokenizer, *each) for each in likely]}
        for token, logprob, likely in zip(completion.token_ids, completion.logprobs, others, strict=True)
    ]


def named_token(tokenizer: Any, token: int, logprob: float) -> dict[str, Any]:
    """Return OpenAI's shape of one token: its text, log-probability and bytes."""
    raw = _bytes(tokenizer, token)
    return {"token": raw.decode("utf-8", errors="replace"), "logprob": logprob, "bytes": list(raw)}


def _bytes(tokenizer: Any, token: int) -> bytes:
    """Return the bytes of one token, which need not be a whole character, with its space in front."""
    piece: str = tokenizer.convert_ids_to_tokens(token)
    if byte := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", piece):
        return bytes.fromhex(byte[1])
    if token in tokenizer.added_tokens_decoder:
        return piece.encode()
    if "▁" in piece:  # SentencePiece's space
        return piece.replace("▁", " ").encode()
    text: str = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    if "\ufffd" not in text:
        return text.encode()
    table = _byte_letters()  # a part of a character
    return bytes(table[letter] for letter in piece if letter in table)


@lru_cache(maxsize=1)
def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}
