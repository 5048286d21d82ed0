"""Our side: a LocalChat of the model's folder.

engine    `llm.engine.generate`, each request with its own limit
batch     `llm.batch` of all requests: one max_tokens, the largest, for all of them; what is over a request's own limit counts for nothing
ainvoke   all requests at once as `llm.ainvoke(messages, max_tokens=…)`, each with its own limit
single    one request alone: seconds a token after the first, and until the first token of a long prompt, its beginning unknown and then known
streams   64 answers at once, through `llm.stream` in threads and through `llm.astream`
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chains import LocalChat
from tests.bench import models

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def chat(spec: dict[str, Any]) -> Any:
    """Return the greedy LocalChat of `spec`, its weights in memory."""
    import torch

    torch.set_num_threads(spec["threads"])
    llm = LocalChat(spec["folder"], temperature=0, dtype=DTYPES[spec["dtype"]], device="cpu")
    for weight in llm.engine.model.parameters():
        weight.sum()  # touched, so that the loaded model's memory is all of it
    return llm


def load(spec: dict[str, Any]) -> Any:
    return {"single": Single, "streams": Streams}.get(spec["how"], Ours)(spec)


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Ours:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.llm = chat(spec)
        self.requests = models.requests(Path(spec["folder"]), spec["limit"])
        self.how = getattr(self, "_" + spec["how"])

    def warm(self) -> None:
        self.how([{**request, "max_tokens": 4} for request in self.requests[:2]])

    def run(self) -> list[Any]:
        """Return each request's token ids (engine), or the text of its answer (batch, ainvoke)."""
        return self.how(self.requests)

    def _engine(self, requests: list[dict[str, Any]]) -> list[Any]:
        from chains.models.engine import Request, Sampling

        asked = [Request(tuple(r["ids"]), Sampling(max_tokens=r["max_tokens"], temperature=0)) for r in requests]
        return [completion.token_ids for completion in self.llm.engine.generate(asked)]

    def _batch(self, requests: list[dict[str, Any]]) -> list[Any]:
        longest = max(request["max_tokens"] for request in requests)
        answers = self.llm.batch([request["messages"] for request in requests], max_tokens=longest)
        return [_text(answer, longest) for answer in answers]

    def _ainvoke(self, requests: list[dict[str, Any]]) -> list[Any]:
        async def together() -> list[Any]:
            calls = [self.llm.ainvoke(request["messages"], max_tokens=request["max_tokens"]) for request in requests]
            return await asyncio.gather(*calls)

        answers = asyncio.run(together())
        return [_text(answer, request["max_tokens"]) for answer, request in zip(answers, requests, strict=True)]


def _text(answer: Any, tokens: int) -> str:
    written = answer.usage_metadata["output_tokens"]
    if written != tokens:
        raise RuntimeError(f"an answer has {written} tokens, and {tokens} were asked for")
    return answer.content


class Single:
    TOKENS = 64

    def __init__(self, spec: dict[str, Any]) -> None:
        self.llm = chat(spec)
        (self.request,) = models.requests(Path(spec["folder"]), 1)
        self.pairs = itertools.cycle(models.long_prompts(Path(spec["folder"])))

    def warm(self) -> None:
        self.run()

    def run(self) -> dict[str, float]:
        """Return the seconds of each part."""
        unknown, known = next(self.pairs)
        first = self._seconds(self.request, 1)
        return {
            "token_s": (self._seconds(self.request, 1 + self.TOKENS) - first) / self.TOKENS,
            "unknown_s": self._seconds(unknown, 1),
            "known_s": self._seconds(known, 1),
        }

    def _seconds(self, request: dict[str, Any], tokens: int) -> float:
        return seconds(lambda: self.llm.invoke(request["messages"], max_tokens=tokens))


class Streams:
    COUNT = 64
    TOKENS = 32

    def __init__(self, spec: dict[str, Any]) -> None:
        self.llm = chat(spec)
        asked = models.requests(Path(spec["folder"]), spec["limit"])
        self.messages = list(itertools.islice(itertools.cycle(row["messages"] for row in asked), self.COUNT))

    def warm(self) -> None:
        for _ in self.llm.stream(self.messages[0], max_tokens=4):
            pass

    def run(self) -> dict[str, Any]:
        """Return, for either way, when each stream began, when each of its pieces came and what failed."""
        return {"stream": self._in_threads(), "astream": asyncio.run(self._in_a_loop())}

    def _in_threads(self) -> list[dict[str, Any]]:
        def one(messages: Any) -> dict[str, Any]:
            row = _Times()
            with row:
                for piece in self.llm.stream(messages, max_tokens=self.TOKENS):
                    row.take(piece)
            return row.facts()

        with ThreadPoolExecutor(self.COUNT) as pool:
            return list(pool.map(one, self.messages))

    async def _in_a_loop(self) -> list[dict[str, Any]]:
        async def one(messages: Any) -> dict[str, Any]:
            row = _Times()
            with row:
                async for piece in self.llm.astream(messages, max_tokens=self.TOKENS):
                    row.take(piece)
            return row.facts()

        return await asyncio.gather(*(one(messages) for messages in self.messages))


class _Times:
    """When the pieces of one stream came; an exception ends the stream and is kept as its failure."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.times: list[float] = []
        self.tokens = 0
        self.failure = ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.failure = repr(error) if error else "" if self.tokens == Streams.TOKENS else f"{self.tokens} tokens"
        return isinstance(error, Exception)

    def take(self, piece: Any) -> None:
        if piece.content:
            self.times.append(time.perf_counter())
        if piece.usage_metadata:
            self.tokens = piece.usage_metadata["output_tokens"]

    def facts(self) -> dict[str, Any]:
        return {"began": self.began, "times": self.times, "failure": self.failure}
