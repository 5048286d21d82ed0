"""`chaintune demo`: the whole loop on this machine, from text to a model tuned with PPO, and a report."""

from pathlib import Path
from typing import Annotated

import typer

from apps.cli import flags, show
from apps.text import language


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data and the report.")] = Path("chaintune-demo"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same figures.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A much smaller run that teaches nothing, to see that all of it works.")
    ] = False,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Make a small model here and tune it: documents, data, pretraining, SFT, a reward model, PPO, and a report. No network.

    Example: chaintune demo --out demo
    """
    words = language(lang)
    from apps.demo import report
    from apps.demo.run import run
    from apps.demo.words import WORDS

    facts = run(seed=seed, out=out, say=print if json else show.say, bars=show.progress, quick=quick, language=words)
    if json:
        show.as_json(facts)
        return
    show.say("")
    show.table(*report.cells(facts["table"], WORDS[words]))
    show.say(f"\n{WORDS[words]['next']}")
    for command in facts["next"]:
        show.say(f"  {command}")
