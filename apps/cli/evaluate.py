"""`chaintune eval`: how good it is, in numbers. `eval FILE` measures a model; `eval retrieval` and `eval rag` have commands of their own."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from apps.cli import flags, show
from apps.cli.evaluate_retrieval import retrieval

_DEFAULT = "model"


class Commands(TyperGroup):
    """A group in which `eval test.jsonl` means `eval model test.jsonl`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = args[0] in self.commands
        return super().resolve_command(ctx, args if known else [_DEFAULT, *args])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        asks_help = bool(args) and args[0] in ("--help", "-h")
        starts_with_flag = bool(args) and args[0].startswith("-") and not asks_help
        return super().parse_args(ctx, [_DEFAULT, *args] if starts_with_flag else args)


app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Measure a model, a way of finding, or answers from documents."
)


def model(
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
    from tuning import formats

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


for name, function in ((_DEFAULT, model), ("retrieval", retrieval)):
    app.command(name)(function)
