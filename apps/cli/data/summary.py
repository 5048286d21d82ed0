"""The numbers of a checked file as sentences."""

from collections import Counter
from typing import TYPE_CHECKING

from apps.cli.data.words import say

if TYPE_CHECKING:
    from tuning.data.report import Report


def summary_lines(report: "Report", tongue: str, price: float | None) -> list[str]:
    """Return what a file holds, costs and takes, a sentence each."""
    from tuning.data.scripts import named
    from tuning.data.words import RULES

    found = report.summary
    levels: Counter[str] = Counter()
    for rule, count in report.counts.items():
        levels[RULES[rule]] += count
    lines = [say("counts", tongue, errors=levels["error"], warnings=levels["warning"], advice=levels["advice"])]
    if found["rows"]:
        lines.append(
            say("rows", tongue, **{k: found[k] for k in ("rows", "messages", "without_system", "without_user")})
        )
        scripts = {named(script, tongue): count for script, count in found["languages"].items()}
        lines.append(say("languages", tongue, languages=_named(scripts)))
        size = found["characters"]
        p = size["percentiles"]
        lines.append(say("characters", tongue, total=size["total"], low=p["p0"], high=p["p100"], middle=p["p50"]))
    lines += _tokens(report, tongue, price)
    configured = report.moderation != "not configured"
    lines.append(say("moderation", tongue, what=report.moderation) if configured else say("moderation_none", tongue))
    return lines


def _tokens(report: "Report", tongue: str, price: float | None) -> list[str]:
    found = report.summary
    tokens = found["tokens"]
    if not tokens:
        return [say("tokens_none", tongue)]
    p = tokens["percentiles"]
    lines = [
        say(
            "tokens",
            tongue,
            total=tokens["total"],
            learned=tokens["learned"],
            low=p["p0"],
            high=p["p100"],
            middle=p["p50"],
            most=p["p95"],
        ),
        say("training", tongue, epochs=found["epochs"], tokens=int(found["trained_tokens"])),
    ]
    if tokens["by_role"]:
        lines.insert(1, say("roles", tongue, roles=_named(tokens["by_role"])))
    if found["cost"] is not None:
        lines.append(say("cost", tongue, cost=found["cost"], price=price))
    if found["seconds"] is None:
        lines.append(say("time_none", tongue))
    else:
        lines.append(say("time", tongue, time=duration(found["seconds"], tongue), rate=found["tokens_per_s"]))
    return lines


def duration(seconds: float, tongue: str) -> str:
    """Return a time in the unit that fits it."""
    unit, size = ("hours", 3600) if seconds >= 5400 else ("minutes", 60) if seconds >= 90 else ("seconds", 1)
    return say(unit, tongue, count=seconds / size)


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
