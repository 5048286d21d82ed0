"""`chaintune eval FILE`: how well a model knows the right answers; `eval win` compares two models, `eval retrieval` ways of
finding, `eval rag` answers from documents."""

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from apps.cli import flags, show, win
from apps.cli.evaluate_rag import rag
from apps.cli.evaluate_retrieval import retrieval


class FileFirst(typer.core.TyperGroup):
    """A group whose first word may be a file: then it is the command `answers`, which needs no name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `answers` before anything that is no command of the group."""
        named = args and (args[0] in self.commands or args[0] in ("--help", "-h"))
        return super().parse_args(ctx, args if named or not args else ["answers", *args])


app = typer.Typer(
    cls=FileFirst,
    no_args_is_help=True,
    help="Measure a model on right answers (eval FILE), against another (eval win), a way of finding (eval retrieval), or answers from documents (eval rag).",
)


@app.command("answers")
def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Chat JSONL with the answers that are right; not the file it was trained on.")
    ],
    model: flags.Model = "starter",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer, in tokens.")] = 64,
    json: flags.Json = False,
) -> None:
    """Measure a local model: perplexity of the right answers, and the share of its own that equal them.

    `answers` may be left out: chaintune eval test.jsonl.

    Example: chaintune eval answers test.jsonl --model ft:starter:local:hobanne:a1b2c3d4
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


app.command("win")(win.win)
app.command("retrieval")(retrieval)
app.command("rag")(rag)
