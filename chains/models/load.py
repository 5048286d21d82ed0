"""A chat model by its name.

| name | is |
| --- | --- |
| `starter` | the model that this project makes for itself |
| `hf:<folder or hub id>` | any causal language model of transformers |
| `ft:<base>:<org>:<suffix>:<id>`, or a name of your own | a model of the registry |
| `openai:<model>` | any server that speaks OpenAI's protocol, by `base_url` or OPENAI_BASE_URL |
| `fake:<answer>`, `fake:<a>|<b>`, `fake:@<file.json>` | a scripted model |
"""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import UsageError, nearest
from chains.models import registry
from chains.models.settings import one_sentence

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_FORMS = {
    "hf": "hf:<folder or hub id>",
    "ft": "ft:<base>:<org>:<suffix>:<id>",
    "openai": "openai:<model>",
    "fake": "fake:<answer>",
}
_TUNED = re.compile(r"ft:[a-z0-9._-]+:[a-z0-9._-]+:[a-z0-9._-]*:[a-z0-9._-]+(:ckpt-step-\d+)?")
_SHORT = re.compile(r"[a-z0-9][a-z0-9._-]*")


def load_model(name: str, **settings: Any) -> "BaseChatModel":
    """Return the chat model called `name`. `settings` are the model's own: temperature, max_tokens, seed, stop and the like.

    Raises UsageError where the name is unknown or malformed, a setting is not the model's, or the named model scores instead of chatting.
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _FORMS and not rest.strip():
        raise UsageError(f"{name!r} names nothing after the colon; expected {_FORMS[prefix]}")
    match prefix if colon else "":
        case "hf":
            return _local(rest, name, settings)
        case "openai":
            return _served(rest, settings)
        case "fake":
            return _scripted(rest, name, settings)
        case "ft" if not _TUNED.fullmatch(name):
            known = [entry.name for entry in registry.entries()]
            raise UsageError(
                f"{name!r} is not of the form {_FORMS['ft']}{nearest(name, known) or '.'} See: chaintune models list"
            )
        case "ft":
            return _registered(name, settings)
    if not _SHORT.fullmatch(name):
        raise _unknown(name, prefix if colon else "")
    return _registered(name, settings)


def _unknown(name: str, prefix: str) -> UsageError:
    if prefix:
        forms = ", ".join(map(repr, _FORMS.values()))
        return UsageError(
            f"{name!r} is no model name: no kind {prefix!r}{nearest(prefix, _FORMS)}; use 'starter', {forms}, or a name from: chaintune models list"
        )
    hint = f"; for a folder or a hub model write 'hf:{name}'" if re.fullmatch(r"[~.\w/-]+", name) else ""
    return UsageError(f"{name!r} is no model name{hint}. See: chaintune models list")


def _registered(name: str, settings: dict[str, Any]) -> "BaseChatModel":
    try:
        entry = registry.find(name)
    except UsageError as error:
        if name != "starter" and (near := nearest(name, ["starter"])):
            raise UsageError(f"no model {name!r}{near} See: chaintune models list") from error
        raise
    if entry.kind == "reward":
        raise UsageError(f"{name!r} is a reward model, which scores and does not chat; use load_scorer({name!r})")
    return _local(entry.source, name, settings)


def _local(source: str, name: str, settings: dict[str, Any]) -> "BaseChatModel":
    from chains.models.local_chat import LocalChat

    return LocalChat(source, **{"model_name": name, **settings})


def _scripted(script: str, name: str, settings: dict[str, Any]) -> "BaseChatModel":
    from chains.models.fake import FakeChat

    answers = _read_script(Path(script[1:])) if script.startswith("@") else script.split("|")
    if not all(answers):
        raise UsageError(f"{name!r} has an empty answer; write 'fake:hello', or 'fake:one|two' for answers in turn")
    return FakeChat(answers, **{"model_name": name, **settings})


def _read_script(path: Path) -> list[str]:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the script {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f'the script {path} is no JSON ({error}); expected a list of answers such as ["one", "two"]'
        ) from error
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise UsageError(f'the script {path} holds no answers; expected a JSON list of texts such as ["one", "two"]')
    return answers


def _served(model: str, given: dict[str, Any]) -> "BaseChatModel":
    base_url = given.get("base_url") or os.environ.get("OPENAI_BASE_URL")
    key = given.get("api_key") or os.environ.get("OPENAI_API_KEY")
    if not (base_url or key):
        raise UsageError(
            f"'openai:{model}' needs a server: give base_url=… (or set OPENAI_BASE_URL) for vLLM, Ollama or another, "
            "or set OPENAI_API_KEY for OpenAI's own"
        )
    from langchain_openai import ChatOpenAI
    from pydantic import ValidationError

    known = {name for key, field in ChatOpenAI.model_fields.items() for name in (key, field.alias) if name}
    for name in given:
        if name not in known:
            raise UsageError(f"an 'openai:' model has no parameter {name!r}{nearest(name, known)}")
    try:
        return ChatOpenAI(**{**given, "model": model, "base_url": base_url, "api_key": key or "none"})
    except ValidationError as error:
        raise one_sentence(error) from None
