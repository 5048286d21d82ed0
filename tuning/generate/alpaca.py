"""Alpaca's way (github.com/tatsu-lab/stanford_alpaca, `generate_instruction.py`): one request brings whole tasks, twenty with three shown.

The structure is the recipe's, the wording ours: what the tasks must be like, then the numbered list of instruction, input and output with
three seeds at its head. Every figure is that file's, checked there. Differences: its `logit_bias` on token 50256 is left out, being GPT-3's
number for the end of a text; a task may carry another number than its place in the reply; and a task without an output is dropped.
"""

import random
import re
from collections.abc import Sequence
from typing import Any

from tuning.generate.ask import Messages, Reply, user
from tuning.generate.seeds import Task

SHOWN, LAST = 3, 20
A_REQUEST = LAST - 1 - SHOWN  # the twentieth is where it is stopped

TASKS: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 3072, "stop": ["\n20", "20.", "20."]}

_ASK = {
    "en": """Make a list of {last} varied tasks for a language model that follows instructions. What counts:
1. No verb twice, so that the tasks differ as much as they can.
2. The wording varies too: some are questions, some are orders.
3. The kinds vary: writing, classifying, rewriting, calculating, advising and others.
4. A model that only reads and writes text can do each: nothing to look at, listen to or remember, and nothing to do in the world.
5. Everything is in English.
6. An instruction is one or two sentences long.
7. Where a task needs something to work on, the input has it, concrete and not a placeholder, in at most 100 words. Where it needs nothing, the input is <noinput>.
8. The output answers the instruction and its input, in at most 100 words.
Go on with the list from {next}, in the same form, each task after a line of ###.

{list}""",
    "ko": """지시를 따르는 언어 모델에게 줄 다양한 과제 {last}개의 목록을 만드세요. 조건은 이렇습니다.
1. 같은 동사를 되풀이하지 말고, 과제가 서로 되도록 다르게 하세요.
2. 말투도 다르게 하세요. 묻기도 하고 시키기도 합니다.
3. 쓰기, 분류, 고쳐 쓰기, 계산, 조언 등 여러 종류를 섞으세요.
4. 글만 읽고 쓰는 모델이 할 수 있어야 합니다. 보거나 듣거나 기억하거나 밖에서 무언가를 하는 과제는 안 됩니다.
5. 모두 한국어로 쓰세요.
6. 지시는 한두 문장입니다.
7. 다룰 거리가 필요하면 입력에 구체적인 내용을 100단어 안으로 쓰고, 필요 없으면 <noinput>이라고 쓰세요.
8. 출력은 지시와 입력에 맞는 답이며 100단어 안으로 쓰세요.
같은 형식으로 {next}번부터 이어 쓰고, 과제마다 그 앞 줄에 ###을 쓰세요.

{list}""",
}
_WORDS = {"en": ("Instruction", "Input", "Output"), "ko": ("지시", "입력", "출력")}
_PART = r"(?:^|\n)\s*{number}\s*\.\s*(?:Instruction|Input|Output|지시|입력|출력)\s*:"


def tasks_prompt(seeds: Sequence[Task], draw: random.Random, language: str) -> Messages:
    """Return the request for new tasks, with three seeds shown."""
    instruction, given, answer = _WORDS[language]
    lines = []
    for number, task in enumerate(draw.sample(list(seeds), SHOWN), 1):
        one = task.instances[0]
        said = " ".join(task.instruction.split()).rstrip(":")
        lines.append(
            f"###\n{number}. {instruction}: {said}\n{number}. {given}:\n{one.input or '<noinput>'}\n{number}. {answer}:\n{one.output}"
        )
    text = _ASK[language]
    parts = {"{last}": str(LAST), "{next}": str(SHOWN + 1), "{list}": "\n".join(lines)}
    return user(re.sub(r"\{(last|next|list)\}", lambda match: parts[match[0]], text))


def read_tasks(reply: Reply) -> list[tuple[str, str, str] | None]:
    """Return (instruction, input, output) of each task of a reply, None where one is not in the form; one that was cut off is left out."""
    text = reply.text
    if not text.lstrip().startswith("###"):
        text = f"###\n{text}" if re.match(r"\s*\d+\s*\.", text) else f"###\n{SHOWN + 1}. Instruction: {text}"
    parts = [part for part in re.split(r"(?:^|\n)\s*###", text) if part.strip()]
    found: list[tuple[str, str, str] | None] = []
    for place, part in enumerate(parts):
        if reply.cut and place == len(parts) - 1:
            continue
        number = re.match(r"\s*(\d+)", part)
        split = re.split(_PART.format(number=number[1] if number else SHOWN + 1 + place), part)
        if len(split) != 4:
            found.append(None)
            continue
        instruction, given, answer = (piece.strip() for piece in split[1:])
        found.append((instruction, "" if given.casefold() == "<noinput>" else given, answer))
    return found
