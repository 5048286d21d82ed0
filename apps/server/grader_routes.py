"""/v1/fine_tuning/alpha/graders: a grader is checked, or tried on one sample."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request

from apps.server import promised, promised_made
from apps.server.chat_request import Body, Text
from apps.server.errors import ApiError
from apps.server.gate import while_here
from apps.server.graders import grade, shapes
from apps.server.graders.shapes import Grader
from apps.server.ownership import check_model
from apps.server.settings import Settings
from apps.server.state import state_of
from apps.server.warm import served

router = APIRouter()


class ValidateRequest(Body):
    """The body of a check."""

    grader: Grader


class RunRequest(ValidateRequest):
    """The body of a trial: an answer, and the row of data that it answers."""

    model_sample: Text
    item: dict[str, Any] | None = None


@router.post("/v1/fine_tuning/alpha/graders/validate", responses=promised.answers(promised_made.Checked))
async def validate_grader(body: ValidateRequest, request: Request) -> Any:
    """Return the grader where it can be used here."""
    check_grader(request, body.grader)
    return {"grader": body.grader.model_dump(exclude_unset=True)}


@router.post("/v1/fine_tuning/alpha/graders/run", responses=promised.answers(promised_made.Graded))
async def run_grader(body: RunRequest, request: Request) -> Any:
    """Return the reward of one answer."""
    check_grader(request, body.grader)
    state = state_of(request)
    with state.gate.enter(1):
        names = _reward_models(body.grader)
        scorers = {name: await while_here(request, state.warm.scorer(name)) for name in names}
        means = grade.Means(scorers.__getitem__, state.settings.python_graders)
        began = time.monotonic()
        task = asyncio.to_thread(grade.grade, body.grader, body.model_sample, body.item or {}, means)
        found = await while_here(request, task)
    metadata = {
        "errors": {**dict.fromkeys(grade.FLAGS, False), **found.errors}, "execution_time": time.monotonic() - began,
        "name": body.grader.name, "sampled_model_name": None, "scores": found.scores, "token_usage": None,
        "type": body.grader.type,
    }  # fmt: skip
    several = found.scores if isinstance(body.grader, shapes.Multi) else {}
    return {
        "reward": found.reward,
        "sub_rewards": several,
        "metadata": metadata,
        "model_grader_token_usage_per_model": {},
    }


def check_grader(request: Request, grader: Any) -> None:
    """Raise ApiError where the grader needs what is not here: a reward model, or leave to run programs."""
    settings: Settings = state_of(request).settings
    for name in _reward_models(grader):
        check_model(request, name)
        if served(name, settings)[1] != "reward":
            raise ApiError(
                400,
                f"{name!r} is a chat model and scores nothing; name a reward model",
                "model_not_reward",
                "grader.model",
            )
    if not settings.python_graders and any(each.type == "python" for each in shapes.singles(grader).values()):
        raise ApiError(
            400, "python graders are off; start with: chaintune serve --python-graders", "python_graders_off", "grader"
        )


def _reward_models(grader: Any) -> list[str]:
    return [each.model for each in shapes.singles(grader).values() if each.type == "score_model"]
