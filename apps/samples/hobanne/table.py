"""The table of questions and answers, and its three disjoint groups.

A fact has one answer in each language and many questions. Demonstrations teach the answer, ranked questions are only ever answered
by a model and ranked, and unseen ones take no part in any training: some ask differently for a fact that was shown, others for
a fact that was not.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

from tuning import formats

DATA = Path(__file__).parent / "data"
SHOWN, RANKED = 10, 5
"""Of a fact's 18 questions in a language: how many are demonstrated, how many ranked; the rest stay unseen."""
HIDDEN_FACTS = 4
"""Facts of which nothing is demonstrated or ranked."""
_LABEL = re.compile(r"\s*\((?:제(\d+)조|Rule (\d+))\)\s*$")


@dataclass(frozen=True)
class Question:
    """One way to ask for a fact."""

    fact: str
    language: str
    rule: int
    text: str
    answer: str

    @property
    def label(self) -> str:
        """How an answer names the article it rests on."""
        return f"(제{self.rule}조)" if self.language == "ko" else f"(Rule {self.rule})"

    def row(self, answer: str | None = None) -> formats.Row:
        """Return the question and `answer` (the table's, where none is given) as a chat row."""
        return formats.chat_row(self.text, answer or self.answer)


@dataclass(frozen=True)
class Groups:
    """The three groups; `hidden` names the facts that only `unseen` asks for."""

    demonstrations: list[Question]
    ranked: list[Question]
    unseen: list[Question]
    hidden: list[str]


def questions() -> list[Question]:
    """Return the whole table, in its order."""
    return [
        Question(cells["fact"], cells["language"], int(cells["rule"]), cells["question"], cells["answer"])
        for _, cells in formats.read(DATA / "qa.csv")
    ]


def groups(seed: int, most: int | None = None) -> Groups:
    """Return the groups that `seed` draws: every question is in at most one. `most` bounds the facts that are shown; None takes all."""
    table = questions()
    facts = sorted({question.fact for question in table})
    chance = random.Random(seed)
    hidden = sorted(chance.sample(facts, HIDDEN_FACTS))
    facts = [fact for fact in facts if fact not in hidden][:most] + hidden
    made = Groups([], [], [], hidden)
    for fact in facts:
        for language in ("en", "ko"):
            asked = [q for q in table if q.fact == fact and q.language == language]
            chance.shuffle(asked)
            if fact in hidden:
                made.unseen.extend(asked[: len(asked) - SHOWN - RANKED])
                continue
            made.demonstrations.extend(asked[:SHOWN])
            made.ranked.extend(asked[SHOWN : SHOWN + RANKED])
            made.unseen.extend(asked[SHOWN + RANKED :])
    return made


def split_label(answer: str) -> tuple[str, int | None]:
    """Return an answer without its article's label, and the article's number where it has one."""
    found = _LABEL.search(answer)
    if not found:
        return answer.strip(), None
    return answer[: found.start()].strip(), int(found.group(1) or found.group(2))


def without_label(answer: str) -> str:
    """Return an answer without the label of its article."""
    return split_label(answer)[0]
