"""Files of demonstrations, whatever their format: chats as they are, prompts with completions, and of preferences and rankings the winners."""

from collections.abc import Sequence
from dataclasses import dataclass

from chains.errors import UsageError
from tuning import formats
from tuning.data.convert import rows_as
from tuning.data.item import Losses, Misfit
from tuning.data.recognise import RECORDS, recognise, shape_named
from tuning.data.rules_row import row_problems
from tuning.data.shapes.shape import Shape
from tuning.formats import Finding, Row
from tuning.problems import chat_problems


@dataclass(frozen=True)
class Demonstrations:
    """Chat rows and where each stands, `file:line`."""

    rows: Sequence[Row]
    places: Sequence[str]


def read(path: str) -> Demonstrations:
    """Return the file's rows as chats. Raises UsageError, naming file and line, at the first row that shows no answer to learn."""
    chat, shape = shape_named("openai-chat"), recognise(path).shape
    found = [(line, made) for line, row in formats.read(path) for made in _chats(path, line, row, shape, chat)]
    for line, row in found:
        if problems := chat_problems(path, line, row):
            raise UsageError(str(problems[0]))
    if not found:
        raise UsageError(f"{path} shows no answers to learn; expected chats, prompts with completions, or preferences")
    return Demonstrations([row for _, row in found], [f"{path}:{line}" for line, _ in found])


def _chats(path: str, line: int, row: Row, have: Shape, chat: Shape) -> list[Row]:
    if have is chat or have is RECORDS:
        return [row]
    for rule, field, values in row_problems(row, have)[1]:
        if (finding := Finding(path, line, field, rule, values)).level == "error":
            raise UsageError(str(finding))
    try:
        return list(rows_as(row, have, chat, Losses()))
    except Misfit as misfit:
        rule, field, values = misfit.problems[0]
        raise UsageError(str(Finding(path, line, field, rule, values))) from misfit
    except UsageError as error:
        raise UsageError(f"{path}:{line}: {error}") from error
