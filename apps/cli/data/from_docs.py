"""`chaintune data from-docs`: grounded questions and answers from documents."""

from typing import Annotated

import typer

from apps.cli import flags, show
from apps.cli.data import making
from apps.text import language
from chains.errors import ModelError


def from_docs(
    documents: Annotated[
        str, typer.Argument(help="A folder of documents, one document, or a pattern such as 'docs/*.md'.")
    ],
    out: making.Out,
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows to make.")] = 100,
    model: flags.Model = "starter",
    system: flags.System = None,
    support: Annotated[
        float,
        typer.Option(
            "--support", min=0.0, max=1.0, help="The least share of the answer's own words that its quote holds."
        ),
    ] = 0.5,
    seed: making.Seed = 0,
    at_once: making.AtOnce = 32,
    price_in: making.PriceIn = 0.0,
    price_out: making.PriceOut = 0.0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Let a model write questions and answers from documents; an answer that its quote does not bear out is dropped.

    A row is a chat row; its `metadata` has the source, the quote and where it stands. The same command goes on where it was cut off.

    Example: chaintune data from-docs docs/ --n 100 --model starter --out train.jsonl
    """
    from apps import from_docs as documents_read
    from tuning.generate.grounded import make
    from tuning.generate.journal import Journal

    work = making.Making(language(lang), "from-docs", price_in, price_out)
    passages = documents_read.passages(documents, show.note)
    settings = {"maker": "from-docs", "model": model, "seed": seed, "support": support, "system": system}
    settings |= {"passages": making.fingerprint(f"{p.source}:{p.start}:{p.text}" for p in passages)}
    with Journal(out, settings) as journal:
        asker = work.asker(model)
        with work.bar(out) as advance:
            made = make(
                asker, passages, journal, n, system=system, seed=seed, at_once=at_once, support=support, advance=advance
            )
        if not made.rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in made.dropped.most_common())
            raise ModelError(f"none of {made.asked} answers of {model} could be kept ({reasons}); use a larger model")
        journal.finish(made.rows[:n])
    work.report(out, len(made.rows[:n]), n, made.dropped, asker, json)
