"""Two chains in a row: what the first one answers is what the second one is asked about.

SimpleSequentialChain joins chains that each have one input and one output, so no key has to be named. `verbose=True` prints what
every step made, which is how you see where a chain goes wrong: a bad genre gives bad films.

    chaintune sample movies --model starter
"""

from collections.abc import Callable

from langchain_core.language_models import BaseChatModel

from chains import LLMChain, SimpleSequentialChain, load_model

GENRE = {
    "en": "Someone would like to see this tonight: {mood}. Name one film genre that fits. Answer with the genre alone.",
    "ko": "오늘 저녁의 기분: {mood}. 이 기분에 어울리는 영화 장르를 하나만 말해 주세요. 장르 이름만 답합니다.",
}
FILMS = {
    "en": "Recommend three films of this genre: {genre}. Say in a few words what each is about.",
    "ko": "다음 장르의 영화를 세 편 추천해 주세요: {genre}. 어떤 이야기인지 짧게 덧붙여 주세요.",
}


def chain(llm: BaseChatModel, language: str) -> SimpleSequentialChain:
    """Return the chain from a mood to films."""
    genre = LLMChain(llm=llm, prompt=GENRE[language])
    films = LLMChain(llm=llm, prompt=FILMS[language])
    return SimpleSequentialChain(chains=[genre, films], verbose=True)


def run(model: str, *, language: str, say: Callable[[str], None], mood: str) -> dict[str, object]:
    """Return the mood and the films."""
    say(f"> {mood}")
    films = chain(load_model(model), language).run(mood)
    return {"mood": mood, "films": films}
