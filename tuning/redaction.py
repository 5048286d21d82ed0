"""Personal data and secrets taken out of texts: what is found becomes the name of its kind in brackets, so that a sentence stays a sentence.

The patterns are those of the check (`chaintune data check`), so that what it would find is gone.
"""

import re
from typing import Any

from tuning.data.rules_text import PERSONAL, SECRETS, luhn, resident_number

_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]{0,20})PRIVATE KEY-----.*?(?:-----END \1PRIVATE KEY-----|\Z)", re.DOTALL)
_TRUE = {"CARD": luhn, "RESIDENT_NUMBER": resident_number}
"""Digits count as these only where their check digit is right."""


def redact(value: Any) -> tuple[Any, int]:
    """Return `value` (text, or lists and objects of texts) with personal data and secrets replaced, and how many were found."""
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, list):
        items = [redact(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    if isinstance(value, dict):
        fields = {key: redact(item) for key, item in value.items()}
        return {key: item for key, (item, _) in fields.items()}, sum(count for _, count in fields.values())
    return value, 0


def _redact_text(text: str) -> tuple[str, int]:
    total = 0
    for pattern in (_PRIVATE_KEY, *SECRETS):
        text, count = pattern.subn("[SECRET]", text)
        total += count
    for kind, pattern in PERSONAL.items():
        text, count = _replace(kind, pattern, text)
        total += count
    return text, total


def _replace(kind: str, pattern: re.Pattern[str], text: str) -> tuple[str, int]:
    is_one = _TRUE.get(kind, lambda found: True)
    found = [match for match in pattern.finditer(text) if is_one(match.group())]
    for match in reversed(found):
        text = f"{text[: match.start()]}[{kind}]{text[match.end() :]}"
    return text, len(found)
