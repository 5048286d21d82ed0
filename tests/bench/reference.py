"""The right answers: transformers' own greedy ones in fp32, one request after the other, for the first few requests; kept beside the model."""

import json
from pathlib import Path
from typing import Any

from chains.models.weights import quiet
from tests.bench import models


def answers(folder: Path, count: int, threads: int) -> list[dict[str, Any]]:
    """Return the `ids` and the `text` of the first `count` answers."""
    kept = folder / f"answers-{count}.json"
    if not kept.exists():
        with quiet(bars=False):
            rows = _generated(folder, count, threads)
        kept.write_text(json.dumps(rows), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def _generated(folder: Path, count: int, threads: int) -> list[dict[str, Any]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for request in models.requests(folder, count):
        prompt = torch.tensor([request["ids"]])
        mask = torch.ones_like(prompt)
        out = model.generate(
            input_ids=prompt, attention_mask=mask, max_new_tokens=request["max_tokens"], do_sample=False
        )
        ids = out[0, len(request["ids"]) :].tolist()
        text = tokenizer.decode(ids, skip_special_tokens=True)
        rows.append({"ids": ids, "text": text.rstrip("\ufffd")})  # the bytes of a character that is not whole yet
    return rows
