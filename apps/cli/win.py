"""`chaintune eval win`: whether one model answers better than another, by a reward model, a judge model or a person."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import flags, show
from apps.cli.data import making
from apps.text import language
from chains.errors import UsageError

if TYPE_CHECKING:
    from tuning.winning import Win

WORDS = {
    "en": {
        "rate": "{a} won {wins}, lost {losses} and tied {ties} of {compared} against {b}: {rate:.1%}, and with {confidence:.0%} confidence between {low:.1%} and {high:.1%}",
        "better": "{a} is better than {b}: recommended",
        "same": "these pairs do not show that {a} is better than {b}: not recommended",
        "pairs": "{out}: {count} pairs; rank them with `chaintune data label {out} --out RANKED`, then: chaintune eval win --labels RANKED",
    },
    "ko": {
        "rate": "{a} 대 {b}: {compared}번 가운데 {wins}승 {losses}패 {ties}무. 승률 {rate:.1%}, {confidence:.0%} 신뢰구간 {low:.1%}~{high:.1%}",
        "better": "{a}가 {b}보다 낫습니다. 권합니다",
        "same": "이 비교만으로는 {a}가 {b}보다 낫다고 할 수 없습니다. 권하지 않습니다",
        "pairs": "{out}: 답 {count}쌍. `chaintune data label {out} --out RANKED`로 순위를 매긴 뒤 chaintune eval win --labels RANKED를 실행하세요",
    },
}


def win(
    a: Annotated[str | None, typer.Argument(help="The model that may be better, by name.")] = None,
    b: Annotated[str | None, typer.Argument(help="The model that it is compared with.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Chat or rankings JSONL, whose prompts both models answer.")
    ] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="A reward model or a chat model that compares.")] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="The pairs of --out, ranked by a person with `data label`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the pairs here, for a person to rank, and judge nothing.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer, in tokens.")] = 256,
    seed: making.Seed = 0,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Measure how often model A answers better than model B, and recommend A only where the interval lies above one half.

    A chat model as judge reads each pair both ways round, and a win that depends on the order is a tie. Answers are the models' likeliest.

    Example: chaintune eval win ft:starter:local:hobanne-ppo:… ft:starter:local:hobanne:… --prompts prompts.jsonl --judge ft:starter:local:rm:…
    """
    words = language(lang)
    if labels is not None:
        from tuning import winning

        return _say(winning.labelled(str(labels)), a or "A", b or "B", words, json)
    if a is None or b is None or prompts is None or (judge is None) == (out is None):
        raise UsageError(
            "the comparison is not whole; give two models with --prompts and --judge or --out, or --labels with a ranked file"
        )
    rows = _pairs(a, b, prompts, max_tokens, seed, making.Making(words, "eval win"))
    if out is not None:
        return _write(rows, out, words, json)
    from tuning import rounds, winning

    assert judge is not None
    _say(winning.judged(rows, rounds.judges(judge, making.Making(words, "judge").asker)[1]), a, b, words, json)


def _pairs(a: str, b: str, prompts: Path, max_tokens: int, seed: int, work: making.Making) -> list[dict[str, Any]]:
    """Return both models' likeliest answers to every prompt as pairs."""
    from tuning import formats, winning
    from tuning.generate import ask

    asked = formats.read_prompts(prompts)
    said = []
    with show.progress("eval win") as advance:
        for number, name in enumerate((a, b)):
            advance(number, 2, name)
            said.append(ask.texts(work.asker(name).ask(asked, temperature=0.0, max_tokens=max_tokens)))
    return winning.pairs(asked, said[0], said[1], seed)


def _write(rows: list[dict[str, Any]], out: Path, words: str, json: bool) -> None:
    from tuning import formats

    if out.exists():
        raise UsageError(f"{out} is there already; give another --out, or move it away")
    formats.write(out, rows)
    if json:
        return show.as_json({"pairs": len(rows), "file": str(out)})
    show.say(WORDS[words]["pairs"].format(out=out, count=len(rows)))


def _say(found: "Win", a: str, b: str, words: str, json: bool) -> None:
    if json:
        return show.as_json(_facts(found, a, b))
    for line in said(found, a, b, words):
        show.say(line)


def said(found: "Win", a: str, b: str, words: str) -> list[str]:
    """Return how A did against B, and whether A is recommended, in words."""
    return [
        WORDS[words][key].format(**_facts(found, a, b)) for key in ("rate", "better" if found.recommended else "same")
    ]


def _facts(found: "Win", a: str, b: str) -> dict[str, Any]:
    return {"a": a, "b": b, "compared": found.compared, **asdict(found)}
