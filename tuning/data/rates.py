"""How many tokens a second this machine trains on, as measured by the trainings themselves; kept in the state folder."""

import json
import time

from chains.home import home, write_file

FILE = "rates.json"


def record(stage: str, tokens: int, seconds: float) -> None:
    """Keep the rate of a training of `stage` that went through `tokens` tokens in `seconds`; too short a one says nothing and is not kept."""
    if seconds < 1 or tokens < 1:
        return
    rates = _read()
    rates[stage] = {"tokens_per_s": tokens / seconds, "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    write_file(home() / FILE, json.dumps(rates, indent=1) + "\n")


def measured(stage: str = "sft") -> float | None:
    """Return the tokens a second of the last training of `stage` on this machine; None where nothing was measured yet."""
    rate = _read().get(stage, {}).get("tokens_per_s")
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _read() -> dict[str, dict[str, float | str]]:
    try:
        found = json.loads((home() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
