"""Supervised fine-tuning, ours beside TRL's SFTTrainer: real tokens a second, 8 rows a step, loss on the assistant's tokens alone.

python -m tests.bench.sft --folder MODEL --data chats.jsonl --trl ENV/bin/python --dtype bf16 --json
"""

import torch
from transformers import AutoTokenizer

from tests.bench import training
from tuning import encode

BATCH = 8


def main() -> None:
    given = training.options(__doc__).parse_args()
    words = AutoTokenizer.from_pretrained(given.folder)
    rows = training.rows(given.data)[: BATCH * given.steps]
    lengths = [len(encode.example(words, row).ids) for row in rows]
    order = [
        batch for batch in encode.batch_order(lengths, BATCH, torch.Generator().manual_seed(0)) if len(batch) == BATCH
    ]
    batches = [[{"messages": rows[place]["messages"]} for place in batch] for batch in order]
    training.compare(given, "sft", batches, lambda number: sum(lengths[place] for place in order[number]), "tokens")


if __name__ == "__main__":
    main()
