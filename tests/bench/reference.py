"""The right answers: transformers' own greedy ones in fp32, one request after the other, for the first few requests; kept beside the model.

In bf16 a near tie is decided otherwise now and then and the rest of the answer differs, so that each token is also judged after the very text that it follows.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from chains.models.weights import quiet
from tests.bench import models


def answers(folder: Path, count: int, threads: int) -> list[dict[str, Any]]:
    """Return the `ids` and the `text` of the first `count` answers."""
    kept = folder / f"answers-{count}.json"
    if not kept.exists():
        kept.write_text(json.dumps(_generated(folder, count, threads)), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def likeliest(folder: Path, asked: Sequence[dict[str, Any]], given: Sequence[list[int]], threads: int) -> float:
    """Return which share of the tokens given to the requests are the likeliest after what stands before them, by transformers in fp32."""
    import torch

    model, _ = _loaded(folder, threads)
    right = 0
    with torch.inference_mode():
        for request, ids in zip(asked, given, strict=True):
            logits = model(torch.tensor([request["ids"] + ids])).logits[0]  # (T, V)
            right += sum(
                token == int(row.argmax()) for token, row in zip(ids, logits[len(request["ids"]) - 1 :], strict=False)
            )
    return right / sum(map(len, given))


@lru_cache(maxsize=1)
def _loaded(folder: Path, threads: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    with quiet(bars=False):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def _generated(folder: Path, count: int, threads: int) -> list[dict[str, Any]]:
    import torch

    model, tokenizer = _loaded(folder, threads)
    rows = []
    for request in models.requests(folder, count):
        prompt = torch.tensor([request["ids"]])
        how = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": request["max_tokens"], "do_sample": False}
        ids = model.generate(input_ids=prompt, **how)[0, len(request["ids"]) :].tolist()
        text = tokenizer.decode(ids, skip_special_tokens=True)
        rows.append({"ids": ids, "text": text.rstrip("\ufffd")})  # the bytes of a character that is not whole yet
    return rows
