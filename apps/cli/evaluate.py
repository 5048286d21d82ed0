"""`chaintune eval`: how well a local model knows the answers of a chat JSONL file."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from tuning import formats


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Chat JSONL with the answers that are right; not the file it was trained on.")
    ],
    model: flags.Model = "starter",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer, in tokens.")] = 64,
    json: flags.Json = False,
) -> None:
    """Measure a local model: perplexity of the right answers, and the share of its own that equal them.

    Example: chaintune eval test.jsonl --model ft:starter:local:hobanne:a1b2c3d4
    """
    rows = formats.read_chat(data)
    from chains.models.engine import Engine
    from tuning import base, evaluate

    perplexity = evaluate.perplexity(model, str(data))
    start = base.load(model)
    answers = evaluate.greedy_answers(Engine(start.model.eval(), start.tokenizer), rows, max_tokens)
    result = {"model": model, "data": str(data), "rows": len(rows), "perplexity": perplexity,
              "exact": evaluate.exact_share(answers, rows)}  # fmt: skip
    if json:
        show.as_json(result)
    else:
        show.say(
            f"{model} on {data} ({len(rows)} rows): perplexity {perplexity:.4g}, exact answers {result['exact']:.1%}"
        )
