"""`chaintune data instruct`: instructions that grow from seed tasks."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags
from apps.cli.data import making
from apps.text import language
from chains.errors import ModelError


def instruct(
    out: making.Out,
    seeds: Annotated[
        Path | None, typer.Option("--seeds", help="Seed tasks, JSONL. Default: ours, in the language of --lang.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many new instructions to make.")] = 1000,
    model: flags.Model = "starter",
    recipe: Annotated[str, typer.Option("--recipe", help="self-instruct or alpaca.")] = "self-instruct",
    seed: making.Seed = 0,
    at_once: making.AtOnce = 32,
    price_in: making.PriceIn = 0.0,
    price_out: making.PriceOut = 0.0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Let a model make instructions and answers like the seeds, by Self-Instruct or Alpaca; near ones (ROUGE-L above 0.7) are dropped.

    self-instruct asks for instructions, then whether each is a classification, then for up to five instances of it: a chat row each.
    alpaca asks for sixteen whole tasks at a time. The language of the seeds is that of what is made. The same command goes on where
    it was cut off.

    Example: chaintune data instruct --n 1000 --recipe alpaca --model starter --out instructions.jsonl
    """
    from tuning.generate import instruct as maker
    from tuning.generate import seeds as tasks
    from tuning.generate.journal import Journal
    from tuning.generate.language import language_of

    words = language(lang)
    maker.check_recipe(recipe)
    given = tasks.read(seeds) if seeds else tasks.shipped(words)
    spoken = language_of(" ".join(task.instruction for task in given))
    work = making.Making(words, "instruct", price_in, price_out)
    settings = {"maker": "instruct", "model": model, "recipe": recipe, "seed": seed, "n": n}
    settings |= {"seeds": making.fingerprint(map(repr, given))}
    with Journal(out, settings) as journal:
        asker = work.asker(model)
        with work.bar(out) as advance:
            made = maker.make(
                asker, given, journal, n, recipe=recipe, language=spoken, seed=seed, at_once=at_once, advance=advance
            )
        rows = made.rows()
        if not rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in made.dropped.most_common())
            raise ModelError(
                f"nothing of {made.requests} requests to {model} could be kept ({reasons}); use a larger model"
            )
        journal.finish(rows)
    work.report(out, len(rows), n, made.dropped, asker, json, made=len(made.tasks))
