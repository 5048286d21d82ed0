"""Log-probabilities in the shape of the legacy endpoint: parallel lists, and a dict of the likeliest tokens for each place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.server.prompt_logprobs import prompt_logprobs

if TYPE_CHECKING:
    from chains.models.engine import Completion
    from chains.models.local_chat import LocalChat


@dataclass(frozen=True)
class Logprobs:
    """Of each token: its text, its log-probability, the likeliest in its place."""

    tokenizer: Any
    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    top: tuple[dict[str, float] | None, ...]

    @classmethod
    def of_prompt(cls, model: "LocalChat", ids: list[int], count: int) -> "Logprobs":
        """Return a prompt's; none for no ids."""
        from chains.models.answer import named_token  # LangChain comes with it, which no start waits for

        tokenizer = model.engine.tokenizer
        if not ids:
            return cls(tokenizer, (), (), ())
        logprobs, top = prompt_logprobs(model, ids, count)
        tokens = [named_token(tokenizer, token, 0.0)["token"] for token in ids]
        named = [
            None if likely is None else {named_token(tokenizer, *each)["token"]: each[1] for each in likely}
            for likely in top
        ]
        return cls(tokenizer, tuple(tokens), tuple(logprobs), tuple(named))

    def with_completion(self, completion: "Completion | None") -> "Logprobs":
        """Return these and, behind them, the completion's."""
        from chains.models.answer import token_logprobs

        said = token_logprobs(self.tokenizer, completion) if completion else []
        top = [{each["token"]: each["logprob"] for each in token["top_logprobs"]} for token in said]
        return Logprobs(
            self.tokenizer,
            (*self.tokens, *(token["token"] for token in said)),
            (*self.logprobs, *(token["logprob"] for token in said)),
            (*self.top, *top),
        )

    def as_json(self) -> dict[str, Any]:
        """Return OpenAI's shape; an offset counts characters from the beginning of the text that is returned."""
        offsets = [0]
        for token in self.tokens:
            offsets.append(offsets[-1] + len(token))
        return {
            "tokens": list(self.tokens),
            "token_logprobs": list(self.logprobs),
            "top_logprobs": list(self.top),
            "text_offset": offsets[:-1],
        }
