"""The sides that run on transformers.

one          model.generate, one request after the other
static       model.generate on left-padded batches of `slots`; the requests sorted by their limits, which wastes least
continuous   transformers' own continuous batching with `slots` requests at once, its KV cache as large as the whole job needs
langchain    langchain-huggingface's HuggingFacePipeline.batch: one max_new_tokens for all requests
single       model.generate for one request: seconds a token after the first, and until the first token of a long prompt
"""

import itertools
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from tests.bench import models

PAGE = 32  # tokens of a page of the paged cache
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Row = dict[str, Any]


def load(spec: dict[str, Any]) -> Any:
    torch.set_num_threads(spec["threads"])
    return SIDES[spec["how"]](spec)


class _Side:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.slots = spec.get("slots", 1)
        self.requests = models.requests(Path(spec["folder"]), spec["limit"])
        self.tokenizer = AutoTokenizer.from_pretrained(spec["folder"])
        self.model = AutoModelForCausalLM.from_pretrained(spec["folder"], dtype=DTYPES[spec["dtype"]]).eval()
        for weight in self.model.parameters():
            weight.sum()  # touched, so that the loaded model's memory is all of it

    def warm(self) -> None:
        self.work([{**request, "max_tokens": 4} for request in self.requests[:2]])

    def run(self) -> list[Any]:
        return self.work(self.requests)

    def work(self, requests: list[Row]) -> list[Any]:
        raise NotImplementedError


class Batches(_Side):
    def work(self, requests: list[Row]) -> list[Any]:
        answers: list[Any] = [None] * len(requests)
        order = sorted(range(len(requests)), key=lambda place: requests[place]["max_tokens"])
        for first in range(0, len(order), self.slots):
            places = order[first : first + self.slots]
            for place, ids in zip(places, self._batch([requests[place] for place in places]), strict=True):
                answers[place] = ids[: requests[place]["max_tokens"]]
        return answers

    @torch.inference_mode()
    def _batch(self, rows: list[Row]) -> list[list[int]]:
        width = max(len(row["ids"]) for row in rows)
        pad = [width - len(row["ids"]) for row in rows]
        ids = torch.tensor([[0] * n + row["ids"] for n, row in zip(pad, rows, strict=True)])  # (B, T)
        mask = torch.tensor([[0] * n + [1] * (width - n) for n in pad])  # 1: real
        longest = max(row["max_tokens"] for row in rows)
        out = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=longest, do_sample=False)
        return out[:, width:].tolist()


class Continuous(_Side):
    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self.manager: Any = None

    def warm(self) -> None:
        self._start()
        super().warm()

    def _start(self) -> None:
        """Start the thread that serves; it ends with the process."""
        from transformers import ContinuousBatchingConfig

        tokens = sum(len(row["ids"]) + row["max_tokens"] for row in self.requests)
        config = ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=-(-tokens // PAGE) + len(self.requests),
            max_batch_tokens=512,
            max_requests_per_batch=self.slots,
            use_cuda_graph=False,
        )
        pad = self.tokenizer.pad_token_id
        how = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=pad, max_new_tokens=models.NEW[1])
        self.manager = self.model.init_continuous_batching(generation_config=how, continuous_batching_config=config)
        self.manager.start()

    def work(self, requests: list[Row]) -> list[Any]:
        names = [self.manager.add_request(input_ids=row["ids"], max_new_tokens=row["max_tokens"]) for row in requests]
        done: dict[str, list[int]] = {}
        while len(done) < len(names):
            result = self.manager.get_result(timeout=1)
            if result is None and not self.manager.is_running():
                raise RuntimeError("transformers' continuous batching stopped by itself")
            if result is not None and result.error:
                raise RuntimeError(result.error)
            if result is not None and result.is_finished():
                done[result.request_id] = list(result.generated_tokens)
        return [done[name] for name in names]


class LangChain(_Side):
    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        from langchain_huggingface import HuggingFacePipeline
        from transformers import pipeline

        made = pipeline("text-generation", model=self.model, tokenizer=self.tokenizer, batch_size=self.slots)
        self.llm = HuggingFacePipeline(pipeline=made, batch_size=self.slots)

    def work(self, requests: list[Row]) -> list[Any]:
        longest = max(row["max_tokens"] for row in requests)
        how = {"max_new_tokens": longest, "do_sample": False, "return_full_text": False}
        return self.llm.batch([row["text"] for row in requests], pipeline_kwargs=how)


class Single(Batches):
    TOKENS = 64

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__(spec)
        self.pairs = itertools.cycle(models.long_prompts(Path(spec["folder"])))

    def warm(self) -> None:
        self.run()

    def run(self) -> Any:
        """Return the seconds of each part; nothing is known from one call to the next."""
        first = self._seconds(self.requests[0], 1)
        return {
            "token_s": (self._seconds(self.requests[0], 1 + self.TOKENS) - first) / self.TOKENS,
            "unknown_s": self._seconds(next(self.pairs)[0], 1),
        }

    def _seconds(self, request: Row, tokens: int) -> float:
        began = time.perf_counter()
        self.work([{**request, "max_tokens": tokens}])
        return time.perf_counter() - began


SIDES = {
    "one": Batches,
    "static": Batches,
    "continuous": Continuous,
    "langchain": LangChain,
    "single": Single,
}
