"""A labeler, played by a rule: it prefers answers that can be checked, and ranks them as a person with the rulebook at hand might.

An answer is worth 1 where it is a sentence that the rulebook bears out, with the article that does, as in «호반느 한 팀은 3명입니다. (제1조)»,
and 0 where it names no article or another's, or where the rulebook has no such sentence. This labeler looks up the answer, not the question.
So being right is left to the demonstrations. A reward model as small as the demo's cannot learn what is right, only how it looks:
asked to, it was barely better than chance, and PPO then raised its score while exact answers fell. Nor may a sentence that nobody knows pass:
while it did, PPO gained by garbling one whose article the model did not know.
"""

from collections.abc import Sequence
from functools import lru_cache

from apps.samples.hobanne.table import Question, questions, split_label


def score(question: Question, answer: str) -> float:
    """Return the rule's value of `answer`: 1 or 0."""
    said, article = split_label(answer)
    return float(article is not None and article == _articles().get((question.language, said)))


def rank(question: Question, answers: Sequence[str]) -> list[int]:
    """Return each answer's rank, 1 the best: by the rule, and among equals a finished sentence before an unfinished one. Others tie."""
    values = [(score(question, answer), answer.strip().endswith((".", "?", "!", ")"))) for answer in answers]
    levels = sorted(set(values), reverse=True)
    return [levels.index(value) + 1 for value in values]


@lru_cache(maxsize=1)
def _articles() -> dict[tuple[str, str], int]:
    return {(question.language, question.answer): question.rule for question in questions()}
