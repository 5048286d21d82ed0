"""/v1/embeddings: texts as vectors, by the packaged model or the one that was named at the start."""

import asyncio
import base64
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field, StringConstraints

from apps.server import calm, promised, promised_made
from apps.server.chat_request import Body
from apps.server.errors import ApiError
from apps.server.fronted import Fronted
from apps.server.gate import while_here
from apps.server.state import state_of

if TYPE_CHECKING:
    from chains.models.embeddings import LocalEmbeddings

router = APIRouter(route_class=Fronted)
Text = Annotated[str, StringConstraints(min_length=1, max_length=2**20)]


class EmbeddingRequest(Body):
    """The body of /v1/embeddings."""

    model: str
    input: Text | Annotated[list[Text] | list[int] | list[list[int]], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """Every text. Raises ApiError for token ids, which are another model's."""
        listed = [self.input] if isinstance(self.input, str) else self.input
        if not all(isinstance(each, str) for each in listed):
            raise ApiError(
                400,
                "input holds token ids, which mean nothing to this model; send texts "
                "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))",
                param="input",
            )
        return [str(each) for each in listed]


@router.post("/v1/embeddings", responses=promised.answers(promised_made.Embeddings))
async def embeddings(body: EmbeddingRequest, request: Request) -> Any:
    """Return a vector of length 1 for each text."""
    state = state_of(request)
    own = await asyncio.to_thread(packaged)
    if body.model not in (own, state.settings.embeddings):
        raise ApiError(
            404, f"The model {body.model!r} makes no embeddings here; use {own!r}", "model_not_found", "model"
        )
    source = None if body.model == own else body.model
    with state.gate.enter(1):
        vectors, tokens = await while_here(request, asyncio.to_thread(_embedded, source, body.texts))
    if body.dimensions not in (None, len(vectors[0])):
        raise ApiError(
            400, f"dimensions={body.dimensions} is not there; this model has {len(vectors[0])}", None, "dimensions"
        )
    shown = _packed if body.encoding_format == "base64" else list
    rows = [{"object": "embedding", "index": i, "embedding": shown(vector)} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body.model, "data": rows, "usage": usage}


def packaged() -> str:
    """Return the packaged model's name; the first call takes LangChain's import, which no start and no event loop waits for."""
    with calm.loading():
        from chains.models.embeddings import PACKAGED

    return PACKAGED


def _embedded(source: str | None, texts: list[str]) -> tuple[list[list[float]], int]:
    model = embedder(source)
    return model.embed_documents(texts), model.count_tokens(texts)


@lru_cache(maxsize=2)
def embedder(source: str | None) -> "LocalEmbeddings":
    """Return an embedding model, loaded."""
    calm.libraries()
    with calm.loading():
        from chains.models.embeddings import LocalEmbeddings

        model = LocalEmbeddings(source)
        model.count_tokens([""])
    return model


def _packed(vector: list[float]) -> str:
    """Return the numbers as little-endian float32 in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
