"""Whether a text is fit to be trained on, by a moderation model: an OpenAI-compatible endpoint, or any model by name that is asked.

The endpoint is taken where the name says so (`openai:omni-moderation-latest`, or any `openai:` name with "moderation" in it, at the address
in OPENAI_BASE_URL); every other name is a chat model that is asked for the category of a text.
"""

import re
from typing import Any

from chains.errors import ModelError
from tuning.data.report import Moderator

CATEGORIES = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
MOST = 8000
"""Characters of a row that are shown to the model."""
_QUESTION = (
    "You check training data. Answer with one word: the category that the text below belongs to, out of "
    f"{', '.join(CATEGORIES)}; or 'safe' where it belongs to none.\n\nText:\n{{text}}\n\nCategory:"
)


def moderator(name: str) -> Moderator:
    """Return what flags a text by the model `name`. Raises UsageError where there is no such model."""
    return (
        _endpoint(name.removeprefix("openai:")) if name.startswith("openai:") and "moderation" in name else _asked(name)
    )


def _endpoint(model: str) -> Moderator:
    from openai import OpenAI

    client = OpenAI()

    def flags(text: str) -> list[str]:
        found: Any = client.moderations.create(model=model, input=text[:MOST]).results[0]
        if not found.flagged:
            return []
        categories = found.categories.model_dump(by_alias=True)
        return [category for category, flagged in categories.items() if flagged] or ["flagged"]

    return flags


def _asked(name: str) -> Moderator:
    from chains.models.load import load_model

    model = load_model(name)

    def flags(text: str) -> list[str]:
        answer = str(model.invoke(_QUESTION.format(text=text[:MOST])).content)
        return judged(answer, name)

    return flags


def judged(answer: str, name: str) -> list[str]:
    """Return the categories that a model's answer names. Raises ModelError where it names none and does not say 'safe'."""
    words = re.findall(r"[a-z-]+", answer.lower())
    found = [category for category in CATEGORIES if category in words]
    if not found and "safe" not in words:
        raise ModelError(
            f"{name!r} answered {answer[:60]!r} instead of a category or 'safe'; use a model that follows instructions, "
            "or openai:omni-moderation-latest"
        )
    return found
