"""`chaintune data rank`: several answers to each prompt, for a person, a judge or a reward model to rank."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import flags
from apps.cli.data import making
from apps.text import language
from chains.errors import ModelError, UsageError


def rank(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="Chat or rankings JSONL, whose prompts are answered; with --judge, also what `data rank` made."
        ),
    ],
    out: making.Out,
    model: flags.Model = "starter",
    k: Annotated[str, typer.Option("--k", help="How many answers: 4, or 4..9 to draw it for each prompt.")] = "4..9",
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", help="A chat model or a reward model (ft:…) that ranks; without it, `data label` does."
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.01, max=5.0, help="Of the sampled answers.")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer, in tokens.")] = 256,
    seed: making.Seed = 0,
    at_once: making.AtOnce = 64,
    price_in: making.PriceIn = 0.0,
    price_out: making.PriceOut = 0.0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Sample K different answers to every prompt; then rank them with `data label`, or here with --judge.

    A chat model as judge compares every two answers, both ways round: K (K - 1) questions for a prompt. A reward model scores each once.
    Where the file holds answers without ranks, --judge ranks those and nothing is sampled. The same command goes on where it was cut off.

    Example: chaintune data rank prompts.jsonl --k 4..9 --model starter --out unranked.jsonl
    """
    from tuning import formats
    from tuning.generate import rank as maker
    from tuning.generate.journal import Journal

    low, high = maker.counts(k)
    work = making.Making(language(lang), "rank", price_in, price_out)
    rows = [(f"{prompts}:{line}", row) for line, row in formats.read(prompts)]
    unranked = bool(rows) and all("outputs" in row and not _ranked(row) for _, row in rows)
    if unranked:
        if judge is None:
            raise UsageError(
                f"{prompts} holds answers already; rank them with `chaintune data label`, or name a --judge"
            )
        return _judge(work, maker.read_unranked(rows), judge, out, at_once, json)
    asked = formats.read_prompts(prompts)
    settings = {"maker": "rank", "model": model, "k": [low, high], "temperature": temperature, "max_tokens": max_tokens}
    settings |= {"seed": seed, "prompts": making.fingerprint(map(repr, asked))}
    target = out.with_name(f"{out.name}.unranked") if judge else out
    if judge and out.exists():
        raise UsageError(f"{out} is there already; give another --out, or move it away")
    if not target.exists() or not judge:
        with Journal(target, settings) as journal:
            asker = work.asker(model)
            with work.bar(target) as advance:
                made = maker.sample(
                    asker, asked, journal, k=(low, high), seed=seed, at_once=at_once, temperature=temperature,
                    max_tokens=max_tokens, advance=advance,
                )  # fmt: skip
            if not made.rows:
                raise ModelError(f"{model} gave fewer than two different answers to every prompt; raise --temperature")
            journal.finish(made.rows)
        work.report(target, len(made.rows), len(asked), made.dropped, asker, json and not judge)
    if judge:
        again = [(f"{target}:{line}", row) for line, row in formats.read(target)]
        if any(row.get("input", {}).get("messages") not in asked for _, row in again):
            raise UsageError(
                f"{target} holds answers to other prompts than {prompts}; remove it, or give another --out"
            )
        _judge(work, maker.read_unranked(again), judge, out, at_once, json)
        target.unlink(missing_ok=True)


def _ranked(row: Mapping[str, Any]) -> bool:
    return any(isinstance(output, dict) and "rank" in output for output in row["outputs"])


def _judge(work: making.Making, rows: list[dict[str, Any]], name: str, out: Path, at_once: int, json: bool) -> None:
    """Rank `rows` by the model `name` and write them to `out`."""
    from chains.models import registry
    from tuning.generate import judge as maker
    from tuning.generate.ask import Asker
    from tuning.generate.journal import Journal

    scoring = any(entry.name == name and entry.kind == "reward" for entry in registry.entries())
    settings = {"maker": "judge", "judge": name, "rows": making.fingerprint(map(repr, rows))}
    with Journal(out, settings) as journal:
        asker: Asker | None = None
        if scoring:
            from chains import load_scorer

            by = maker.by_reward(load_scorer(name))
        else:
            asker = work.asker(name)
            by = maker.by_chat(asker)
        with work.bar(out) as advance:
            made = maker.judge(by, rows, journal, asker, at_once=max(1, at_once // 8), advance=advance)
        if not made.rows:
            raise ModelError(f"{name} ranked no answer above another in {len(rows)} rows; name another --judge")
        journal.finish(made.rows)
    work.report(out, len(made.rows), len(rows), made.dropped, asker, json)
