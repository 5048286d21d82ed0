"""`chaintune serve`: OpenAI's API over the models of this machine."""

import logging
import os
import signal
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from apps.cli import flags, show
from apps.server.settings import LOOPBACK, MIB, Settings, engine_url, launcher
from apps.text import language, text
from apps.ui.server import check_port
from chains.errors import UsageError
from chains.models.weights import check_source

DRAIN_S = 25
"""How long answers under way may go on after a SIGTERM."""


def serve(
    host: Annotated[str, typer.Option("--host", help="The address to listen on; beyond loopback a key is required.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port.")] = 8000,
    model: Annotated[list[str], typer.Option("--model", help="Serve hf:<folder or hub id>, too. May be repeated.")] = [],  # noqa: B006
    embeddings: flags.Embeddings = None,
    moderation: Annotated[str | None, typer.Option("--moderation", help="The chat model that judges /v1/moderations.")] = None,
    allow_host: Annotated[list[str], typer.Option("--allow-host", help="A name by which this server may be called.")] = [],  # noqa: B006
    allow_origin: Annotated[list[str], typer.Option("--allow-origin", help="A web page's origin that may call it.")] = [],  # noqa: B006
    memory_gib: Annotated[float, typer.Option("--memory-gib", min=0, help="For all loaded models; 0 takes half of the machine's.")] = 0,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="Answers that one model writes at a time.")] = 64,
    max_waiting: Annotated[int, typer.Option("--max-waiting", min=0, help="Answers that may wait; one more gets 429.")] = 64,
    requests_per_minute: Annotated[int, typer.Option("--requests-per-minute", min=0, help="Of one key; 0 sets no limit.")] = 0,
    require_key: Annotated[bool, typer.Option("--require-key", help="Want a key on loopback, too.")] = False,
    python_graders: Annotated[bool, typer.Option("--python-graders", help="Run the programs of python graders, each held in a process of its own.")] = False,
    launch: Annotated[str | None, typer.Option("--launch", help="The command that starts a job in several processes, such as 'accelerate launch --multi_gpu --num_processes 2'.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="The URL of another server of OpenAI's API, such as vLLM, that answers for the models it has; its key in CHAINTUNE_ENGINE_KEY.")] = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:  # fmt: skip
    """Serve the models of this machine to any client of OpenAI's API. No model is loaded before one is asked for.

    Example: chaintune serve --port 8000
    """
    words = language(lang)
    check_port(port, "serve")
    settings = Settings(
        host=host, port=port, models=tuple(map(_named, model)), embeddings=embeddings, moderation=moderation,
        hosts=tuple(allow_host), origins=tuple(allow_origin), memory_bytes=int(memory_gib * 1024 * MIB), max_batch=max_batch,
        max_waiting=max_waiting, requests_per_minute=requests_per_minute, require_key=require_key,
        python_graders=python_graders, launch=() if launch is None else launcher(launch), engine=_engine(engine, port),
        engine_key=os.environ.get("CHAINTUNE_ENGINE_KEY", ""),
    )  # fmt: skip
    _check_keys(settings)
    from apps.server.run import run  # FastAPI takes a second that no other command should

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    url = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}"
    signal.signal(signal.SIGTERM, _interrupt)  # uvicorn raises the signal again once it has stopped
    with suppress(KeyboardInterrupt):
        run(settings, DRAIN_S, lambda: _say(url, words, json))
    if not json:
        show.say(text("serve_stopped", words))


def _engine(given: str | None, port: int) -> str | None:
    """Return the base URL of the engine. Raises UsageError where it is no URL, or this server's own."""
    if given is None:
        return None
    parts = urlsplit(url := engine_url(given))
    if parts.hostname in LOOPBACK and parts.port == port:
        raise UsageError(f"--engine {given!r} is this server itself; give the other one's URL, or another --port")
    return url


def _check_keys(settings: Settings) -> None:
    from apps.server.database import Database
    from apps.server.keys import listed

    if settings.needs_key and not any(key["revoked_at"] is None for key in listed(Database())):
        raise UsageError(
            f"a key is required to serve on {settings.host}, and there is none; make one: chaintune keys create"
        )


def _say(url: str, words: str, json: bool) -> None:
    show.as_json({"url": url}) if json else show.say(text("serve_ready", words, url=url))


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _named(model: str) -> str:
    if not model.startswith("hf:"):
        raise UsageError(
            f"--model {model!r} is served by its name already; give hf:<folder or hub id>, or leave it out"
        )
    check_source(model.removeprefix("hf:"))
    return model
