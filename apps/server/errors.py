"""Whatever goes wrong, as OpenAI's JSON: {"error": {message, type, param, code}} under the status that its clients act upon.

A client tries again on 408, 409, 429 and from 500 on, so an error that will not pass by itself is a 400.
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from chains.errors import BusyError, ChaintuneError, ContextError, MachineError, ModelError, UsageError

_log = logging.getLogger("chaintune.server")
RETRY_S = 1
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Told(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """An answer that is no success."""

    error: Told


RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody, "description": said}
    for code, said in (("4XX", "The request cannot be answered as it is."), ("5XX", "The server cannot answer now."))
}


class ApiError(Exception):
    """An answer that is no success: its status, its sentence, and the field and code that a program looks at."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that the client gets."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The whole answer."""
        return JSONResponse(self.body, self.status, self.headers)


def missing(what: str, name: str, param: str | None = None) -> ApiError:
    """Return the error for an object that is not there, or is another's."""
    return ApiError(404, f"there is no {what} {name!r}", f"{what.replace(' ', '_')}_not_found", param)


def as_api_error(error: BaseException) -> ApiError:
    """Return what `error` is to a client. What is our own fault is logged and told without its inner text."""
    match error:
        case ApiError():
            return error
        case BusyError():
            return ApiError(429, str(error), "queue_full", headers={"Retry-After": str(RETRY_S)})
        case ContextError():
            return ApiError(400, str(error), "context_length_exceeded", "messages")
        case UsageError():
            return ApiError(400, str(error))
        case ModelError():
            return ApiError(500, str(error), "model_error", headers={"x-should-retry": "false"})
        case MachineError() | ChaintuneError():
            return ApiError(503, str(error), "unavailable")
    _log.error("a request failed", exc_info=error)
    return ApiError(500, "the server failed on this request; its log says why", headers={"x-should-retry": "false"})


def add_to(app: FastAPI) -> None:
    """Let `app` tell every failure in OpenAI's shape."""

    async def told(_: Request, error: Exception) -> JSONResponse:
        return as_api_error(error).response()

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        return _invalid(error).response()

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return ApiError(error.status_code, str(error.detail), headers=dict(error.headers or {})).response()

    for kind in (ApiError, ChaintuneError, Exception):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _invalid(error: Exception) -> ApiError:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]
    name = ".".join(where) or None
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is no JSON ({first['ctx']['error']}); send one JSON object")
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unrecognized request argument supplied: {name}", "unknown_parameter", name)
    if first["type"] == "missing":
        return ApiError(400, f"{name or 'the body'} is missing; give it", "missing_required_parameter", name)
    own = first.get("ctx", {}).get("error")
    said = str(own) if isinstance(own, Exception) else f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    return ApiError(400, f"{name or 'the body'} cannot be used: {said}", "invalid_value", name)
