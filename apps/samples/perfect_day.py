"""One prompt, one model call: the smallest chain there is.

A template has a hole (`{city}`), a chain is a template with a model behind it, and `run` fills the hole and returns the answer.
The template here is LangChain's own PromptTemplate: it goes into our chains unchanged.

    chaintune sample perfect-day --model starter
"""

from collections.abc import Callable

from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import PromptTemplate

from chains import LLMChain, load_model

TEMPLATES = {
    "en": "Describe a perfect day in {city}.",
    "ko": "{city}에서 보내는 완벽한 하루를 이야기해 주세요.",
}


def chain(llm: BaseChatModel, language: str) -> LLMChain:
    """Return the chain from a city to a text."""
    return LLMChain(llm=llm, prompt=PromptTemplate.from_template(TEMPLATES[language]))


def run(model: str, *, language: str, say: Callable[[str], None], city: str) -> dict[str, object]:
    """Return the city and its perfect day."""
    day = chain(load_model(model), language)
    say(f"> {day.prompt.format(city=city)}")
    text = day.run(city)
    say(text)
    return {"city": city, "text": text}
