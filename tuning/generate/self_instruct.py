"""Self-Instruct (arXiv 2212.10560), what is asked and how it is read: new instructions, whether each is a classification, its instances.

The structure is the paper's (appendix A, tables 5 to 8), the wording ours: eight numbered instructions, six by people and two by the model,
to be gone on from 9; then yes or no; then examples, output first for a classification (so that every label comes up) and input first
otherwise. The paper asked a model that only goes on writing; a chat model is told to.

The figures are the released code's (github.com/yizhongw/self-instruct), each checked there: what is shown and how it is sampled in
bootstrap_instructions.py, the kind in identify_clf_or_not.py, instances in generate_instances.py, how they are read and that five stay in
prepare_for_finetuning.py; the 12 and 19 seeds before the question of the kind in the paper's appendix. Two differences: of an instruction
only the first letter is made a capital (theirs makes all others small, names too), and top_p is not sent with temperature 0.
"""

import random
import re
from collections.abc import Sequence
from typing import Any

from tuning.generate.ask import Messages, Reply, user
from tuning.generate.seeds import Instance, Task

SHOWN, BY_PEOPLE = 8, 6
A_REQUEST = 7  # instructions that one request brings at most: 9 to 15
MOST_INSTANCES = 5

INSTRUCTIONS: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.5,
    "presence_penalty": 2.0,
    "frequency_penalty": 0.0,
    "max_tokens": 1024,
    "stop": ["\n\n", "\n16", "16.", "16 ."],
}
KIND: dict[str, Any] = {"temperature": 0.0, "max_tokens": 3, "stop": ["\n", "Task"]}
INSTANCES: dict[str, Any] = {
    "temperature": 0.0,
    "presence_penalty": 1.5,
    "max_tokens": 350,
    "stop": ["Example 6", "예시 6", "Task:", "과제:"],
}
CLASS_INSTANCES: dict[str, Any] = {**INSTANCES, "max_tokens": 300}

_COME_UP = {
    "en": "Here is a list of varied tasks. Go on with it from {next}, one new task a line, each with its number, and write nothing else.\n\n{list}",
    "ko": "여러 가지 과제의 목록입니다. {next}번부터 새 과제를 한 줄에 하나씩 번호를 붙여 이어 쓰고, 다른 것은 쓰지 마세요.\n\n{list}",
}
_KIND = {
    "en": (
        "Is the answer to the task one of a few fixed labels (a classification)? Answer Yes or No.",
        "Task",
        "Classification",
        ("Yes", "No"),
    ),
    "ko": (
        "과제의 답이 미리 정해진 몇 가지 가운데 하나인가요(분류)? 예 또는 아니요로 답하세요.",
        "과제",
        "분류 과제",
        ("예", "아니요"),
    ),
}
_INPUT_FIRST = {
    "en": "Write up to five examples of the task, each with an input, if the task needs one, and the output. Keep to the form of the examples.",
    "ko": "과제의 예를 다섯 개까지 쓰세요. 입력이 필요한 과제이면 입력을 쓰고, 이어서 출력을 쓰세요. 아래 형식을 그대로 따르세요.",
}
_OUTPUT_FIRST = {
    "en": "Write examples of the classification task: first a class label, then an input that belongs to it. Let every label come up once.",
    "ko": "분류 과제의 예를 쓰세요. 먼저 분류를 쓰고, 다음 줄에 그 분류에 드는 입력을 쓰세요. 분류마다 한 번씩 나오게 하세요.",
}
_OUTPUT = re.compile(r"(?:^|\n)\s*(?:Output|출력)\s*\d*\s*:")
_INPUT = re.compile(r"(?:^|\n)\s*(?:Input|입력)\s*\d*\s*:")
_WORDS = {"en": ("Task", "Example", "Input", "Output", "Class label"), "ko": ("과제", "예시", "입력", "출력", "분류")}
_YES = ("yes", "예", "네")


def instructions_prompt(seeds: Sequence[Task], made: Sequence[str], draw: random.Random, language: str) -> Messages:
    """Return the request for new instructions: eight shown, two of them from `made` where there are two."""
    by_model = draw.sample(list(made), min(SHOWN - BY_PEOPLE, len(made)))
    shown = by_model + draw.sample([task.instruction for task in seeds], SHOWN - len(by_model))
    draw.shuffle(shown)
    lines = "\n".join(f"{number}. {' '.join(text.split()).rstrip(':')}" for number, text in enumerate(shown, 1))
    return user(_COME_UP[language].format(next=SHOWN + 1, list=lines))


def read_instructions(reply: Reply) -> list[str]:
    """Return the instructions of a reply, in order; a reply that was cut off at max_tokens has none, as in the released code."""
    if reply.cut:
        return []
    found = re.split(r"(?:^|\n)\s*\d+\s?\.\s*", reply.text)
    texts = (" ".join(text.split()) for text in found)
    return [text[:1].upper() + text[1:] for text in texts if text]


def kind_prompt(instruction: str, seeds: Sequence[Task], language: str) -> Messages:
    """Return the question whether the instruction is a classification, with up to 12 seeds that are and 19 that are not before it."""
    question, task_word, kind_word, (yes, no) = _KIND[language]
    shown = [task for task in seeds if task.is_classification][:12] + [
        task for task in seeds if not task.is_classification
    ][:19]
    random.Random(0).shuffle(shown)
    parts = [f"{task_word}: {task.instruction}\n{kind_word}: {yes if task.is_classification else no}" for task in shown]
    return user("\n\n".join([question, *parts, f"{task_word}: {instruction}\n{kind_word}:"]))


def read_kind(reply: Reply) -> bool:
    """Return whether the reply says that it is a classification."""
    return reply.text.strip().casefold().startswith(_YES) and not reply.text.strip().startswith("예시")


def instances_prompt(instruction: str, is_classification: bool, seeds: Sequence[Task], language: str) -> Messages:
    """Return the request for instances, with the form shown on up to four seeds of the same kind."""
    like = [task for task in seeds if task.is_classification == is_classification and task.instances][:4]
    shown = [_example(task, is_classification, language) for task in like]
    task_word = _WORDS[language][0]
    ask = (_OUTPUT_FIRST if is_classification else _INPUT_FIRST)[language]
    return user("\n\n".join([ask, *shown, f"{task_word}: {instruction}"]))


def _example(task: Task, is_classification: bool, language: str) -> str:
    task_word, example_word, input_word, output_word, label_word = _WORDS[language]
    lines = [f"{task_word}: {task.instruction}"]
    for number, one in enumerate(task.instances, 1):
        if is_classification:
            lines.append(f"{label_word}: {one.output}\n{one.input}")
        else:
            given = f"{input_word}: {one.input}\n" if one.input else ""
            lines.append(f"{example_word} {number}\n{given}{output_word}: {one.output}")
    return "\n".join(lines)


def read_instances(reply: Reply, is_classification: bool) -> list[Instance]:
    """Return the examples of a reply; of one that was cut off at max_tokens, all but the last."""
    found = _labelled(reply.text) if is_classification else _examples(reply.text)
    return found[:-1] if reply.cut else found


def at_most_five(instances: Sequence[Instance], instruction: str) -> list[Instance]:
    """Return the instances in their order, five drawn by the instruction's own text where there are more."""
    drawn = random.Random(instruction).sample(range(len(instances)), min(MOST_INSTANCES, len(instances)))
    return [instances[place] for place in sorted(drawn)]


def _labelled(text: str) -> list[Instance]:
    parts = re.split(r"(?:^|\n)\s*(?:Class label|분류)\s*:", text)[1:]
    pairs = (part.strip().partition("\n") for part in parts)
    return [Instance(given.strip(), label.strip()) for label, _, given in pairs if label.strip()]


def _examples(text: str) -> list[Instance]:
    """Return what stands after each «Example»; before the first, only what has an output marked, for models love to begin with a word of theirs."""
    before, *parts = re.split(r"(?:^|\n)\s*(?:Example|예시)\s*\d*\s*[.:]?\s*(?=\n|$)", text)
    found = [_parted(part) for part in ([before] if _OUTPUT.search(before) else []) + parts]
    return [one for one in found if one.output]


def _parted(part: str) -> Instance:
    """Return the first input and output; where no output is marked, all of it is one."""
    given, *answer = _OUTPUT.split(part)
    if not answer:
        return Instance("", _INPUT.split(part)[0].strip())
    return Instance(re.sub(r"^\s*(?:Input|입력)\s*\d*\s*:", "", given).strip(), _INPUT.split(answer[0])[0].strip())
