"""Which instructions a recipe refuses before it looks for near ones, and which instances.

The rules and figures are those of Self-Instruct (arXiv 2212.10560, section 2.2 and its released code) and of Alpaca's
`generate_instruction.py`; their words are English. The Korean ones stand beside them and follow the same intent: two words are already a
sentence there, a forbidden word may carry a particle, and a first letter is Hangul.
"""

import re
from collections.abc import Sequence

from tuning.generate.seeds import Instance

MOST_WORDS = 150
FEWEST_WORDS = {"en": 4, "ko": 3}  # theirs refuse 3 or fewer; in Korean «다음 문장을 번역하세요» are three

_SELF_INSTRUCT = ["images?", "graphs?", "pictures?", "files?", "maps?", "draw", "plot", "go to"]
_ALPACA = [*_SELF_INSTRUCT, "video", "audio", "music", "flowchart", "diagram"]
_KOREAN = ["이미지", "사진", "그림", "그래프", "도표", "파일", "지도"]
_KOREAN_ALPACA = [*_KOREAN, "동영상", "영상", "오디오", "음악", "순서도", "다이어그램"]
_PARTICLES = "(?:들)?(?:을|를|이|가|은|는|의|에|에서|로|으로|와|과|도|만|이나|나)?"


def _pattern(english: Sequence[str], korean: Sequence[str]) -> re.Pattern[str]:
    words = rf"\b(?:{'|'.join(english)})\b"
    stems = rf"(?<![가-힣])(?:{'|'.join(korean)}){_PARTICLES}(?![가-힣])"
    return re.compile(f"{words}|{stems}", re.IGNORECASE)


_FORBIDDEN = {
    "self-instruct": _pattern(_SELF_INSTRUCT, _KOREAN),
    "alpaca": _pattern(_ALPACA, _KOREAN_ALPACA),
}
_PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_PROGRAM = ("Write a program", "프로그램을 작성", "프로그램을 만들")


def instruction_fault(instruction: str, recipe: str, language: str) -> str | None:
    """Return why `recipe` refuses the instruction, or None."""
    if not instruction:
        return "empty"
    words = len(instruction.split())
    if words < FEWEST_WORDS[language]:
        return "too short"
    if words > MOST_WORDS:
        return "too long"
    if _FORBIDDEN[recipe].search(instruction):
        return "needs more than text"
    if instruction.startswith(_PROGRAM):
        return "asks for a program"
    if instruction[0] in _PUNCTUATION:
        return "begins with punctuation"
    if not (instruction[0].isascii() or (language == "ko" and "가" <= instruction[0] <= "힣")):
        return "begins with a foreign letter"
    return None


def valid_instances(instances: Sequence[Instance]) -> list[Instance]:
    """Return the instances that Self-Instruct keeps: none where one input (not the empty one) has two outputs; each once, its output no
    copy of its input, neither ending with a colon, which is a sign of text that was cut, and the output not empty.
    """
    kept: list[Instance] = []
    for one in instances:
        cut = one.input.endswith(":") or one.output.endswith(":")
        if one.output and one.input != one.output and not cut and one not in kept:
            kept.append(one)
    inputs = [one.input for one in kept if one.input]
    return kept if len(set(inputs)) == len(inputs) else []
