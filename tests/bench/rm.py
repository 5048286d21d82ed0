"""A reward model, ours beside TRL's RewardTrainer: prompts a second, each with its K ranked answers, one prompt a step.

python -m tests.bench.rm --folder MODEL --data rankings.jsonl --trl ENV/bin/python --dtype bf16 --json

A row of the data is `{"prompt": …, "responses": […]}`, the best answer first. TRL learns from the C(K,2) pairs of a prompt as rows of their own,
in the order of their ranks and all in one step, which is its best case. Both sides begin with one head's weights, and with a chat template
that ends a conversation with its end-of-turn token: TRL scores an answer at its last token whatever that is, ours at the end-of-turn token, and
behind a template's newline the two are at different places.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

from chains.models import weights
from tests.bench import training
from tuning import base, reward


def main() -> None:
    parser = training.options(__doc__)
    parser.set_defaults(steps=24)
    given = parser.parse_args()
    rows = training.rows(given.data)[: given.steps]
    with tempfile.TemporaryDirectory() as folder:
        given.folder = scalar(given.folder, Path(folder) / given.folder.name)
        training.compare(given, "rm", [[ranking(row)] for row in rows], lambda number: 1, "prompts")


def ranking(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row as rankings JSONL has it."""
    outputs = [
        {"messages": [{"role": "assistant", "content": answer}], "rank": rank}
        for rank, answer in enumerate(row["responses"], start=1)
    ]
    return {"input": {"messages": [{"role": "user", "content": row["prompt"]}]}, "outputs": outputs}


def scalar(folder: Path, target: Path) -> Path:
    """Write the model of `folder` with a fresh scalar head to `target`, and return that."""
    start = base.load(f"hf:{folder}")
    start.tokenizer.chat_template = ends_with_its_turn(start.tokenizer.chat_template)
    with weights.quiet(bars=False):
        reward.scalar_model(start, 1, 0.0).save_pretrained(target)
        start.tokenizer.save_pretrained(target)
    return target


def ends_with_its_turn(template: str) -> str:
    """Return the template with no newline behind the last message of a conversation that is over."""
    between = r"{%- if not loop.last or add_generation_prompt -%}\1{%- endif -%}\2"
    return re.sub(r"(\{\{-\s*'(?:\n|\\n)'\s*-\}\})(\{%-?\s*endfor)", between, template)


if __name__ == "__main__":
    main()
