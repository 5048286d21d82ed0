"""The sample apps: each is one short file to read, run, and copy as a start of your own.

    from apps.samples import find
    find("perfect-day").run("starter", {"city": "Busan"}, say=print, language="en")

Every sample's module has `run(model, *, language, say, <its inputs>) -> dict`: `model` is a model's name, `say` shows a line of plain
words, every input is a text, and what comes back is plain data. A module is imported when its sample is run, not before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from chains.errors import UsageError, nearest

LANGUAGES = ("en", "ko")


@dataclass(frozen=True)
class Sample:
    """A sample app by name: `about` and each input's default are given by language."""

    name: str
    module: str
    about: Mapping[str, str]
    inputs: Mapping[str, Mapping[str, str]]

    def defaults(self, language: str = "en") -> dict[str, str]:
        """Return every input with the value that it has where none is given."""
        return {name: default[language] for name, default in self.inputs.items()}

    def run(
        self, model_name: str, inputs: Mapping[str, str], say: Callable[[str], None], language: str = "en"
    ) -> dict[str, object]:
        """Run the sample and return what it made. Raises UsageError on an input it does not have or that is empty."""
        if language not in LANGUAGES:
            raise UsageError(f"language {language!r} is unknown; use 'ko' or 'en'")
        for name, value in inputs.items():
            if name not in self.inputs:
                raise UsageError(
                    f"sample {self.name!r} has no input {name!r}; it takes: {', '.join(self.inputs)}{nearest(name, self.inputs)}"
                )
            if not value.strip():
                raise UsageError(f"input {name!r} is empty; give a text such as {self.inputs[name][language]!r}")
        values = {**self.defaults(language), **inputs}
        result: dict[str, object] = import_module(self.module).run(model_name, language=language, say=say, **values)
        return result


def find(name: str) -> Sample:
    """Return the sample called `name`. Raises UsageError, naming the nearest, where there is none."""
    if name not in SAMPLES:
        raise UsageError(f"there is no sample {name!r}; have: {', '.join(SAMPLES)}{nearest(name, SAMPLES)}")
    return SAMPLES[name]


def _same(text: str) -> dict[str, str]:
    return dict.fromkeys(LANGUAGES, text)


_ALL = (
    Sample(
        "perfect-day",
        "apps.samples.perfect_day",
        {
            "en": "one prompt, one answer: a perfect day in a city",
            "ko": "프롬프트 하나, 대답 하나: 한 도시에서 보내는 완벽한 하루",
        },
        {"city": {"en": "Paris", "ko": "부산"}},
    ),
    Sample(
        "movies",
        "apps.samples.movies",
        {
            "en": "two chains in a row: a mood gives a genre, the genre gives films",
            "ko": "이어진 두 체인: 기분에서 장르를, 장르에서 영화를",
        },
        {"mood": {"en": "something light", "ko": "가볍게 웃고 싶은 기분"}},
    ),
    Sample(
        "answer-json",
        "apps.samples.answer_json",
        {"en": "a question in, a JSON object out", "ko": "질문을 넣으면 JSON 객체가 나옵니다"},
        {"question": {"en": "What is the capital of France?", "ko": "프랑스의 수도는 어디입니까?"}},
    ),
    Sample(
        "translate",
        "apps.samples.translate",
        {
            "en": "translation with no, one and several examples in the prompt, and a TL;DR summary",
            "ko": "예시 없이, 하나로, 여럿으로 하는 번역과 TL;DR 요약",
        },
        {
            "sentence": {"en": "a glass of water", "ko": "우리는 내일 박물관에 갑니다."},
            "sign": _same("=>"),
            "story": {
                "en": "We wanted to row across the lake on Sunday. In the morning the wind broke our only oar. "
                "We ate our sandwiches in the boat, on the shore, and it was a fine trip.",
                "ko": "일요일에 배를 저어 호수를 건너려고 했습니다. 아침에 바람이 불어 하나뿐인 노가 부러졌습니다. "
                "우리는 물가에 묶인 배 안에서 도시락을 먹었고, 그래도 즐거운 소풍이었습니다.",
            },
        },
    ),
    Sample(
        "superhero",
        "apps.samples.superhero",
        {
            "en": "fine-tuning: age, sex and power become a description",
            "ko": "미세 조정: 나이, 성별, 초능력으로 소개 글을 씁니다",
        },
        {
            "age": {"en": "35", "ko": "35세"},
            "sex": {"en": "woman", "ko": "여자"},
            "power": {"en": "wind control", "ko": "바람 조종"},
            "train": _same("yes"),
        },
    ),
    Sample(
        "hobanne",
        "apps.samples.hobanne.app",
        {
            "en": "one's own rules: a table becomes chat data, a tuned model answers, a library quotes",
            "ko": "나만의 규칙: 표가 채팅 데이터가 되고, 튜닝한 모델이 답하고, 라이브러리가 인용합니다",
        },
        {
            "question": {"en": "What happens when the ball goes out?", "ko": "공이 밖으로 나가면 어떻게 되나요?"},
            "train": _same("yes"),
        },
    ),
)

SAMPLES: dict[str, Sample] = {sample.name: sample for sample in _ALL}
