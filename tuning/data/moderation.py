"""Whether a text is fit to be trained on, by a moderation model: an OpenAI-compatible endpoint, or any model by name that is asked.

The endpoint is taken where the name says so (`openai:omni-moderation-latest`, or any `openai:` name with "moderation" in it, at the address
in OPENAI_BASE_URL); every other name is a chat model that is asked for the category of a text.
"""

import os
import re
from typing import TYPE_CHECKING, Any

from chains.errors import ModelError, UsageError
from tuning.data.report import Moderator

if TYPE_CHECKING:
    from openai import OpenAI

CATEGORIES = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
MOST = 8000
"""Characters that are shown to the model at once; a longer row is shown piece by piece, and flagged where any piece is."""
TIMEOUT_S = 60
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
    import openai

    client = _client(model)

    def flags(text: str) -> list[str]:
        try:
            results: list[Any] = client.moderations.create(model=model, input=_pieces(text)).results
        except openai.APIStatusError as error:
            raise ModelError(
                f"the moderation endpoint at {client.base_url} refuses {model!r}: {error.message}"
            ) from error
        except openai.OpenAIError as error:
            raise ModelError(
                f"the moderation endpoint at {client.base_url} does not answer ({error}); start it, or correct OPENAI_BASE_URL"
            ) from error
        return list(dict.fromkeys(category for found in results if found.flagged for category in _categories(found)))

    return flags


def _client(model: str) -> "OpenAI":
    from openai import OpenAI

    key = os.environ.get("OPENAI_API_KEY")
    if not key and not os.environ.get("OPENAI_BASE_URL"):
        raise UsageError(f"'openai:{model}' needs a server: set OPENAI_BASE_URL, or OPENAI_API_KEY for OpenAI's own")
    return OpenAI(api_key=key or "none", timeout=TIMEOUT_S)


def _categories(found: Any) -> list[str]:
    named = [category for category, flagged in found.categories.model_dump(by_alias=True).items() if flagged]
    return named or ["flagged"]


def _pieces(text: str) -> list[str]:
    return [text[start : start + MOST] for start in range(0, max(len(text), 1), MOST)]


def _asked(name: str) -> Moderator:
    from chains.models.load import load_model

    model = load_model(name)

    def flags(text: str) -> list[str]:
        answers = model.batch([_QUESTION.format(text=piece) for piece in _pieces(text)])
        return list(dict.fromkeys(category for answer in answers for category in judged(str(answer.content), name)))

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
