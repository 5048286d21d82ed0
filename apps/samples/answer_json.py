"""A question in, a Python dict out: prompt | model | parser, LangChain's pipe.

Each part takes what the part before it gave: the prompt a dict, the model a prompt, the parser a message. The template holds JSON,
and our Prompt reads its braces as text; only `{question}` is a hole. Nothing forces a model to answer in JSON, and a small one
often does not: then the sample shows what it did say.

    chaintune sample answer-json --model hf:Qwen/Qwen3-0.6B
"""

from collections.abc import Callable
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers.json import SimpleJsonOutputParser
from langchain_core.runnables import Runnable

from chains import ModelError, Prompt, load_model

TEMPLATES = {
    "en": 'Answer the question with a JSON object that has one key, like {"answer": "..."}. Question: {question}',
    "ko": '질문에 {"answer": "..."} 모양의 JSON 객체로만 답하세요. 질문: {question}',
}


def chain(llm: BaseChatModel, language: str) -> Runnable[Any, Any]:
    """Return the chain from a question to whatever JSON the model answers with."""
    return Prompt(TEMPLATES[language]) | llm | SimpleJsonOutputParser()


def run(model: str, *, language: str, say: Callable[[str], None], question: str) -> dict[str, object]:
    """Return the question and the answer. Raises ModelError, with the model's words, where they are not such an object."""
    try:
        answered = chain(load_model(model), language).invoke({"question": question})
    except OutputParserException as error:
        raise _not_json(model, error.llm_output or "") from error
    if not isinstance(answered, dict) or "answer" not in answered:
        raise _not_json(model, repr(answered))
    say(f"{question}\n{answered['answer']}")
    return {"question": question, "answer": answered["answer"]}


def _not_json(model: str, said: str) -> ModelError:
    return ModelError(
        f'{model!r} did not answer with a JSON object like {{"answer": "..."}}; it said: {said.strip()[:300]!r}; '
        "ask again, or use a larger model such as hf:Qwen/Qwen3-0.6B"
    )
