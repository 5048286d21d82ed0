"""What of a conversation goes into a chatbot's next prompt: the latest exchanges, and a summary of those before them.

Without a budget the window is the latest exchanges within a number of turns and of characters. With one (in tokens), all that is not in the
summary goes in; when that is more than the budget, the oldest of it goes into the summary until half the budget is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig

from chains.bilingual import Bilingual
from chains.errors import UsageError
from chains.plan import Call, Plan
from chains.retrieval_chain import language_of
from chains.runs.conversation import Conversation
from chains.samples import settings_of
from chains.tokens import counting

_SUMMARISE = {
    "en": "Summary of a conversation so far: {sofar}\n\nIt went on:\n{said}\n\nWrite the summary anew, with all that matters later: names, "
    "numbers, wishes, decisions. A few sentences, the summary alone.",
    "ko": "지금까지의 대화 요약: {sofar}\n\n이어진 대화:\n{said}\n\n이름, 숫자, 바라는 것, 정한 것처럼 나중에 필요한 것을 모두 담아 요약을 "
    "다시 쓰세요. 몇 문장으로, 요약만 쓰세요.",
}
_CONDENSE = {
    "en": "Conversation:\n{said}\n\nNext question: {question}\n\nRewrite the question so that it can be understood without the conversation. "
    "Keep its language. Write the question alone.",
    "ko": "대화:\n{said}\n\n다음 질문: {question}\n\n대화를 보지 않아도 이해할 수 있게 질문을 고쳐 쓰세요. 질문만 쓰세요.",
}
EARLIER = {
    "en": ("Earlier in our conversation: {summary}", "Yes, I remember."),
    "ko": ("앞서 나눈 대화: {summary}", "네, 기억합니다."),
}
NOTES = {
    "en": {
        "no summary": "The earlier conversation could not be summarised ({why}); the latest part of it was used.",
        "no rewrite": "The model did not rewrite the question ({why}); it was searched for as it is.",
        "no support": "No passage of the documents supports this answer; check it before you rely on it.",
    },
    "ko": {
        "no summary": "앞선 대화를 요약하지 못해 ({why}) 최근 대화만 썼습니다.",
        "no rewrite": "모델이 질문을 고쳐 쓰지 못해 ({why}) 질문 그대로 찾았습니다.",
        "no support": "문서에는 이 답을 뒷받침하는 대목이 없습니다. 믿기 전에 확인하세요.",
    },
}
_EMPTY = {"en": "its answer was empty", "ko": "답이 비어 있음"}


@dataclass
class Recalled:
    """What goes into the prompt, and what there is to say about how it came to be."""

    question: str
    history: list[BaseMessage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, kind: str, why: Any) -> None:
        """Add a note in the question's language; `why` is an error, or None for an empty answer."""
        language = language_of(self.question)
        self.notes.append(NOTES[language][kind].format(why=_EMPTY[language] if why is None else why))


class Remembering:
    """How a chatbot's conversation is recalled."""

    def __init__(
        self, llm: Runnable[Any, Any], conversation: Conversation, turns: int, characters: int, budget: int | None
    ) -> None:
        if turns < 0 or characters < 0:
            raise UsageError(f"turns={turns}, characters={characters} cannot be used; give numbers of at least 0")
        if budget is not None and budget < 2:
            raise UsageError(f"summarise_after={budget} cannot be used; give at least 2 tokens, such as 2000")
        self._llm, self._conversation = llm, conversation
        self._turns, self._characters, self._budget = turns, characters, budget
        self._summarising = Bilingual(llm=llm, texts=_SUMMARISE, output_key="summary")
        self._condensing = Bilingual(llm=llm, texts=_CONDENSE, output_key="standalone")

    def recall(self, question: str, config: RunnableConfig) -> Plan:
        """Return [Recalled]: the history that goes into the prompt, after a summary of what has become too long."""
        recalled = Recalled(question)
        if self._budget is None:
            recalled.history = self._window()
            return [recalled]
        summary, place = self._conversation.summary()
        live = self._conversation.after(place)
        old = _too_many(live, self._budget, counting(self._llm))
        if old:
            inputs = {"sofar": summary or "-", "said": spoken(old)}
            below: RunnableConfig = {**config, "run_name": "summary"}
            (made,) = yield Call(self._summarising, [inputs], [below], self._short())
            written = "" if isinstance(made, Exception) else made["summary"].strip()
            if not written:
                recalled.note("no summary", made if isinstance(made, Exception) else None)
                recalled.history = self._window()
                return [recalled]
            summary, live = written, live[len(old) :]
            self._conversation.summarised(summary, old[-1][0])
        recalled.history = [*_as_exchange(summary), *_messages((q, a) for _, q, a in live)]
        return [recalled]

    def condense(self, recalled: Recalled, config: RunnableConfig) -> Plan:
        """Return [Recalled] with the question made to stand alone, or as it was, with a note."""
        said = "\n".join(f"{message.type}: {message.text}" for message in recalled.history)
        below: RunnableConfig = {**config, "run_name": "standalone"}
        (made,) = yield Call(self._condensing, [{"said": said, "question": recalled.question}], [below])
        written = "" if isinstance(made, Exception) else made["standalone"].strip()
        if written:
            return [Recalled(written, recalled.history, recalled.notes)]
        recalled.note("no rewrite", made if isinstance(made, Exception) else None)
        return [recalled]

    def _short(self) -> Mapping[str, Any]:
        own = settings_of(self._llm).get("max_tokens")
        return {} if own is None else {"max_tokens": max(1, min(own, (self._budget or 0) // 2))}

    def _window(self) -> list[BaseMessage]:
        """Return the latest whole exchanges that keep within the bounds, oldest first."""
        kept: list[tuple[str, str]] = []
        room = self._characters
        for question, answer in reversed(self._conversation.exchanges(self._turns)):
            room -= len(question) + len(answer)
            if room < 0:
                break
            kept.insert(0, (question, answer))
        return _messages(kept)


def spoken(exchanges: Any) -> str:
    """Return exchanges (place, question, answer) as lines of a dialogue."""
    return "\n".join(f"human: {question}\nai: {answer}" for _, question, answer in exchanges)


def _too_many(live: list[tuple[int, str, str]], budget: int, count: Any) -> list[tuple[int, str, str]]:
    """Return the oldest exchanges that have to go so that half the budget is kept; none where all keep within it."""
    sizes = [count(question) + count(answer) for _, question, answer in live]
    if sum(sizes) <= budget:
        return []
    left, gone = sum(sizes), 0
    while gone < len(live) and left > budget // 2:
        left -= sizes[gone]
        gone += 1
    return live[:gone]


def _as_exchange(summary: str) -> list[BaseMessage]:
    """Return the summary as an exchange: every chat template takes one, which not all do of a second system message."""
    if not summary:
        return []
    said, heard = EARLIER[language_of(summary)]
    return [HumanMessage(said.replace("{summary}", summary)), AIMessage(heard)]


def _messages(exchanges: Any) -> list[BaseMessage]:
    return [message for question, answer in exchanges for message in (HumanMessage(question), AIMessage(answer))]
