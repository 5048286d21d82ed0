"""What Typer says of a wrong call, in Korean: its sentences are known by their form, and one that is not known stays English."""

import re

CALLS = (
    (r"No such command ('.*')\. Did you mean (.*)\?", "{0} 명령은 없습니다. 비슷한 명령: {1}"),
    (r"No such command ('.*')", "{0} 명령은 없습니다"),
    (r"Missing argument (.*)", "인수가 빠졌습니다: {0}"),
    (r"Missing option (.*)", "옵션이 빠졌습니다: {0}"),
    (r"No such option: (\S+) \(Possible options: (.*)\)", "{0} 옵션은 없습니다. 비슷한 옵션: {1}"),
    (r"No such option: (\S+)", "{0} 옵션은 없습니다"),
    (r"Option ('.*') requires an argument", "{0} 뒤에 값을 쓰세요"),
    (r"Option ('.*') does not take a value", "{0} 옵션은 값을 받지 않습니다"),
    (r"Got unexpected extra argument\(s\) \((.*)\)", "쓰지 않는 인수가 있습니다: {0}"),
)
VALUES = (
    (r"Input should be a valid integer.*", "정수를 쓰세요"),
    (r"Input should be a valid number.*", "숫자를 쓰세요"),
    (r"Input should be greater than or equal to (\S+)", "{0} 이상으로 쓰세요"),
    (r"Input should be less than or equal to (\S+)", "{0} 이하로 쓰세요"),
)
Forms = tuple[tuple[str, str], ...]


def korean(sentence: str) -> str:
    """Return `sentence`, which ends without a full stop, in Korean; as it is where its form is not known."""
    if value := re.fullmatch(r"Invalid value for (.+?'\)?): (.+)", sentence):
        return f"{value[1]}의 값이 잘못되었습니다: {_said(value[2], VALUES)}"
    return _said(sentence, CALLS)


def _said(sentence: str, forms: Forms) -> str:
    found = ((re.fullmatch(form, sentence), words) for form, words in forms)
    return next((words.format(*match.groups()) for match, words in found if match), sentence)
