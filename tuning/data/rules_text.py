"""The rules for what is said: control tokens, broken encodings, personal data, secrets, and the language of question and answer."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from tuning.data.parse import Problem

CONTROL_TOKENS = re.compile(
    r"<\|[a-z_]{2,30}\|>|<\|/?(?:im_start|im_end|endoftext)\|>|<(?:start|end)_of_turn>|\[/?INST\]|<<SYS>>|</?s>|<(?:bos|eos|pad|unk)>|<\|\d{1,4}\|>"
)
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
HIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
"""What a repair takes out of texts; marks of direction and joiners may be meant, so they stay."""
_MOJIBAKE = re.compile(
    r"\ufffd|[ÃÂ][\u0080-\u00bf¡-¿]|â€[™œ\u009d“”¦˜]|[ìíëê][\u0080-\u00bf‚-›€Œ-Ÿœžš¡-¿]{2}|ï»¿|[°-ÿ]{2}(?:[°-ÿ]{2}){3,}"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b")
_RESIDENT = re.compile(r"(?<!\d)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-?[1-8]\d{6}(?!\d)")
_PHONE = re.compile(
    r"(?<![\d.-])(?:\+82[- ]?|0)1[016789][- .]?\d{3,4}[- .]?\d{4}(?![\d-])|(?<![\d.-])0(?:2|[3-6]\d)[- .)]\d{3,4}[- .]\d{4}(?![\d-])"
    r"|(?<![\d.-])\+\d{1,3}[- ]\(?\d{2,4}\)?[- ]\d{3,4}[- ]\d{3,4}(?![\d-])|(?<![\d.-])\(?\d{3}\)?[- ]\d{3}-\d{4}(?![\d-])"
)
_CARD = re.compile(r"(?<![\d.-])(?:\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{4}|[3-6]\d{15})(?![\d-])")
_SECRETS = {
    "OpenAI": re.compile(r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{20,}"),
    "AWS": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "Google": re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b"),
    "Hugging Face": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY-----"),
    "password": re.compile(r"(?i)\b(?:password|passwd|api[_-]?key|secret[_-]?key)\s?[=:]\s?['\"][^'\"\s]{8,}['\"]"),
}
_SECRET_HINTS = (
    "sk-",
    "AKIA",
    "ASIA",
    "gh",
    "AIza",
    "hf_",
    "xox",
    "eyJ",
    "PRIVATE KEY",
    "assw",
    "ASSW",
    "key",
    "KEY",
    "Key",
    "ecret",
    "ECRET",
)


def text_problems(text: str, place: str) -> Iterator[Problem]:
    """Yield what stands in a text that should not; each kind once, with its first sample, personal data and secrets mostly hidden."""
    if ("<" in text or "[" in text) and (found := CONTROL_TOKENS.search(text)):
        yield "control-token", place, {"token": found.group()}
    if "\0" in text:
        yield "nul", place, {}
    if not text.isascii() or not text.isprintable():
        if found := _CONTROL.search(text):
            yield "control-character", place, {"code": f"{ord(found.group()):04X}"}
        if found := _MOJIBAKE.search(text):
            yield "mojibake", place, {"sample": text[max(0, found.start() - 5) : found.end() + 10]}
    yield from _personal(text, place)
    if any(hint in text for hint in _SECRET_HINTS):
        for kind, pattern in _SECRETS.items():
            if found := pattern.search(text):
                yield "secret", place, {"kind": kind, "sample": f"{found.group()[:4]}…"}


def _personal(text: str, place: str) -> Iterator[Problem]:
    if "@" in text and (found := _EMAIL.search(text)) and not found.group().endswith(("@example.com", "@example.org")):
        yield "personal-data", place, {"kind": "email", "sample": f"{found.group()[:2]}…@…"}
    if not _has_digits(text):
        return
    if any(resident_number(found.group()) for found in _RESIDENT.finditer(text)):
        yield "personal-data", place, {"kind": "주민등록번호", "sample": "######-#######"}
    if found := _PHONE.search(text):
        yield "personal-data", place, {"kind": "phone", "sample": f"{found.group()[:3]}…"}
    if any(luhn(found.group()) for found in _CARD.finditer(text)):
        yield "personal-data", place, {"kind": "card", "sample": "####-####-####-####"}


_DIGITS = re.compile(r"\d{3}")


def _has_digits(text: str) -> bool:
    return _DIGITS.search(text) is not None


def resident_number(text: str) -> bool:
    """True where the check digit of a Korean resident registration number is right (those given out before October 2020 have one)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    return (
        len(digits) == 13 and (11 - sum(d * w for d, w in zip(digits, weights, strict=False)) % 11) % 10 == digits[12]
    )


def luhn(text: str) -> bool:
    """True where the digits pass the check of card numbers (ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) if place % 2 else d for place, d in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


_SCRIPTS = {"HANGUL": "Korean", "CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "CYRILLIC": "Cyrillic",
            "ARABIC": "Arabic", "DEVANAGARI": "Devanagari", "THAI": "Thai", "GREEK": "Greek", "HEBREW": "Hebrew", "LATIN": "Latin"}  # fmt: skip
LOOK = 400


def script(text: str) -> str | None:
    """Return the writing system of most letters among the first 400 characters; None where there are fewer than 4 letters."""
    piece = text[:LOOK]
    if piece.isascii():
        return "Latin" if sum(map(str.isalpha, piece[:40])) > 3 else None
    counts: Counter[str] = Counter()
    for letter in piece:
        if letter.isalpha():
            counts[
                _SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], "other") if letter > "\x7f" else "Latin"
            ] += 1
    if counts["Japanese"]:
        counts["Japanese"] += counts.pop("Chinese", 0)
    if sum(counts.values()) < 4:
        return None
    return counts.most_common(1)[0][0]


def language_mix(asked: Sequence[str], answers: Sequence[str], place: str) -> Iterator[Problem]:
    """Yield where the answer is written in another script than the last question: a Korean question, an English answer."""
    question, answer = script(asked[-1]) if asked else None, script(answers[-1]) if answers else None
    if question and answer and question != answer and len(answers[-1]) > 20:
        yield "language-mix", place, {"question": question, "answer": answer}
