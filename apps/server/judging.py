"""/v1/score, a reward model's numbers for answers; and /v1/moderations, by the model that was named for it."""

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from apps.server import promised, promised_made
from apps.server.chat_request import Body, Text
from apps.server.errors import ApiError
from apps.server.gate import while_here
from apps.server.ownership import check_model
from apps.server.state import State, state_of
from chains.errors import ModelError

router = APIRouter()


class Turn(Body):
    """One message of a conversation."""

    role: Text
    content: Text


class Scored(Body):
    """A conversation, and the answer that is scored as its next turn."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=1024)]
    answer: Text


class ScoreRequest(Body):
    """The body of /v1/score."""

    model: str
    input: Annotated[list[Scored], Field(min_length=1, max_length=256)]


class ModerationRequest(Body):
    """The body of /v1/moderations."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=256)]
    model: str | None = None


@router.post("/v1/score", responses=promised.answers(promised_made.Scores))
async def score(body: ScoreRequest, request: Request) -> Any:
    """Return a reward model's score for each answer; demonstrations average 0."""
    check_model(request, body.model)
    state = state_of(request)
    pairs = [([turn.model_dump() for turn in each.messages], each.answer) for each in body.input]
    with state.gate.enter(1):
        scorer = await while_here(request, state.warm.scorer(body.model))
        scores = await while_here(request, asyncio.to_thread(scorer.score_many, pairs))
    data = [{"object": "score", "index": i, "score": value} for i, value in enumerate(scores)]
    return {"object": "list", "model": body.model, "data": data}


@router.post("/v1/moderations", responses=promised.answers(promised_made.Moderation))
async def moderations(body: ModerationRequest, request: Request) -> Any:
    """Return whether each text may be shown, as the named model says."""
    state = state_of(request)
    name = state.settings.moderation
    if name is None:
        raise ApiError(
            400,
            "moderation is not configured, so nothing can be said of the text; start with: chaintune serve --moderation MODEL",
            "moderation_not_configured",
        )
    texts = [body.input] if isinstance(body.input, str) else body.input
    with state.gate.enter(len(texts)):
        verdicts = await while_here(request, _verdicts(state, name, texts))
    return {"id": f"modr-{secrets.token_hex(12)}", "model": name, "results": [_result(each) for each in verdicts]}


async def _verdicts(state: State, name: str, texts: list[str]) -> list[dict[str, Any]]:
    llm = (await state.warm.chat(name)).bind(temperature=0)

    def judged() -> list[dict[str, Any]]:
        from chains.moderation import Moderation

        return Moderation(llm).batch([{"text": text} for text in texts])

    return await asyncio.to_thread(judged)


def _result(verdict: dict[str, Any]) -> dict[str, Any]:
    if verdict["flagged"] is None:
        raise ModelError("the moderation model gave no verdict on a text; try again, or name a larger model")
    flagged = bool(verdict["flagged"])
    return {"flagged": flagged, "categories": {"unsafe": flagged}, "category_scores": {}}
