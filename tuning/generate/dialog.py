"""Conversations in which one side plays both: as ChatGPT's first data was made, where trainers wrote the user's turns and the assistant's
with a model's suggestions at hand (openai.com/index/chatgpt, «Methods»).

`Writing` holds what a person has so far, turn by turn; `suggest` is the model's word for the next turn; `alone` lets it write whole dialogs.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.generate.ask import Asker, Messages, Reply, seed_of, texts, unanswered, user
from tuning.generate.journal import Event, Journal

Turn = dict[str, str]
Advance = Callable[[int, int, str], None]

ROLES = ("user", "assistant")
_OPENING = {
    "en": "You play someone who talks to an assistant{about}. Write the first message that this person types: one concrete question or request, "
    "in everyday words. Write the message and nothing else.",
    "ko": "당신은 AI 어시스턴트에게 말을 거는 사람입니다{about}. 이 사람이 처음 쓰는 말을 쓰세요. 구체적인 질문이나 부탁 하나를 일상적인 말로 씁니다. "
    "그 말만 쓰고 다른 것은 쓰지 마세요.",
}
_NEXT = {
    "en": "You play the person in this conversation{about}. Write what this person types next: a follow-up, an objection or a new wish that fits. "
    "Write the message and nothing else.\n\n{said}\nperson:",
    "ko": "당신은 이 대화 속의 사람입니다{about}. 이 사람이 다음에 쓸 말을 쓰세요. 이어지는 질문, 반론, 새로운 부탁 가운데 어울리는 것으로 씁니다. "
    "그 말만 쓰고 다른 것은 쓰지 마세요.\n\n{said}\n사람:",
}
_ABOUT = {"en": " about {topic}", "ko": ". 주제는 {topic}입니다"}
_NAMES = {"en": {"user": "person", "assistant": "assistant"}, "ko": {"user": "사람", "assistant": "어시스턴트"}}


@dataclass(frozen=True)
class Scene:
    """What every dialog of a file has in common: the language, the assistant's instructions, the topic."""

    language: str = "en"
    system: str | None = None
    topic: str | None = None

    def row(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """Return the turns as a chat row; a last turn of the user's, which nobody answered, is left out."""
        return {"messages": self.messages(turns[: len(turns) - len(turns) % 2])}

    def messages(self, turns: Sequence[Turn]) -> list[Turn]:
        """Return the turns under the assistant's instructions."""
        return [*([{"role": "system", "content": self.system}] if self.system else []), *turns]


def next_role(turns: Sequence[Turn]) -> str:
    """Return who speaks next; the user begins."""
    return ROLES[len(turns) % 2]


def prompt(turns: Sequence[Turn], scene: Scene) -> Messages:
    """Return what the model is asked for the next turn: as itself for the assistant's, told to play the person for the user's."""
    if next_role(turns) == "assistant":
        return scene.messages(turns)
    about = _ABOUT[scene.language].replace("{topic}", scene.topic) if scene.topic else ""
    if not turns:
        return user(_OPENING[scene.language].replace("{about}", about))
    names = _NAMES[scene.language]
    said = "\n".join(f"{names[turn['role']]}: {turn['content']}" for turn in turns)
    head, tail = _NEXT[scene.language].replace("{about}", about).split("{said}")
    return user(head + said + tail)


def suggest(asker: Asker, turns: Sequence[Turn], scene: Scene, temperature: float = 1.0) -> str:
    """Return the model's word for the next turn. Raises what the model raises."""
    (said,) = texts(asker.ask([prompt(turns, scene)], temperature=temperature))
    return said.strip()


class Writing:
    """The dialogs that a person writes, and the one that is open; every turn is in the journal when it is said."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.dialogs: list[list[Turn]] = []
        self.open: list[Turn] = []
        for event in journal.events:
            self._take(event)

    def say(self, content: str, by: str) -> None:
        """Add the next turn; `by` says whose words they are: model, edited or person."""
        self._step({"say": content, "by": by})

    def undo(self) -> bool:
        """Take the last turn back, or open the last dialog again. False where there is nothing."""
        if not self.open and not self.dialogs:
            return False
        self._step({"undo": True})
        return True

    def close(self) -> bool:
        """Finish the open dialog. False unless the assistant has spoken last."""
        if not self.open or len(self.open) % 2:
            return False
        self._step({"close": True})
        return True

    def _step(self, event: Event) -> None:
        self._take(self._journal.add(event))

    def _take(self, event: Event) -> None:
        if "say" in event:
            self.open.append({"role": next_role(self.open), "content": event["say"]})
        elif "close" in event:
            self.dialogs.append(self.open)
            self.open = []
        elif self.open:
            self.open.pop()
        else:
            self.open = self.dialogs.pop()


@dataclass
class Made:
    """The dialogs that the model wrote alone, and why others were dropped."""

    dialogs: list[list[Turn]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    tried: int = 0


def alone(
    asker: Asker, journal: Journal, n: int, scene: Scene, *, exchanges: int = 3, seed: int = 0, at_once: int = 32,
    temperature: float = 1.0, advance: Advance = lambda done, total, note: None,
) -> Made:  # fmt: skip
    """Return up to `n` different dialogs of `exchanges` user and assistant turns each, `at_once` of them written side by side.

    It gives up after three times as many as were asked for; a dialog with an empty turn is dropped.
    """
    made = Made()

    def take(event: Event) -> None:
        made.tried += event["tried"]
        made.dialogs += event["dialogs"]
        made.dropped.update(event["dropped"])
        advance(len(made.dialogs), n, str(asker.usage))

    for event in journal.events:
        asker.usage.add(*event["usage"])
        take(event)
    while len(made.dialogs) < n and made.tried < 3 * n:
        count = min(at_once, n - len(made.dialogs))
        numbers = range(made.tried, made.tried + count)
        written, dropped, used = _side_by_side(asker, numbers, scene, exchanges, seed, temperature)
        fresh = [
            turns for place, turns in enumerate(written) if turns not in made.dialogs and turns not in written[:place]
        ]
        dropped["same as another"] += len(written) - len(fresh)
        take(journal.add({"tried": count, "dialogs": fresh, "dropped": +dropped, "usage": used}))
    return made


def _side_by_side(
    asker: Asker, numbers: Sequence[int], scene: Scene, exchanges: int, seed: int, temperature: float
) -> tuple[list[list[Turn]], Counter[str], tuple[int, int]]:
    """Write the dialogs of these numbers, a turn of each at a time; return those that got through, why the others did not, and the tokens."""
    going: list[tuple[int, list[Turn]]] = [(number, []) for number in numbers]
    dropped: Counter[str] = Counter()
    read = written = 0
    for turn in range(2 * exchanges):
        seeds = [seed_of(seed, "dialog", number, turn) for number, _ in going]
        replies = asker.ask([prompt(turns, scene) for _, turns in going], seeds, temperature=temperature)
        read, written = (read + asker.last[0], written + asker.last[1]) if going else (read, written)
        kept = []
        for (number, turns), reply in zip(going, replies, strict=True):
            said = reply.text.strip() if isinstance(reply, Reply) else ""
            if said:
                kept.append((number, [*turns, {"role": next_role(turns), "content": said}]))
            else:
                dropped[unanswered(reply) if isinstance(reply, Exception) else "empty turn"] += 1
        going = kept
    return [turns for _, turns in going], dropped, (read, written)
