"""`chaintune ui`: the chat page in a browser, on this machine alone."""

import signal
from typing import Annotated, Any

import typer

import chains
from apps import bots
from apps.cli import flags, show
from apps.text import language, text
from apps.ui import server
from chains.errors import MachineError


def ui(
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The port on 127.0.0.1.")] = server.PORT,
    model: Annotated[
        str | None, typer.Option("--model", envvar="CHAINTUNE_MODEL", help="The model to begin with.")
    ] = None,
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Open the chat page: streamed answers, their sources, thumbs that become training data. Ctrl-C stops it.

    Example: chaintune ui --library ./kb --lang ko
    """
    words = language(lang)
    server.check_port(port)
    if model is not None:
        chains.load_model(
            model
        )  # its weights are read when it is first asked; a name that stands for nothing is refused here
    if library is not None:
        bots.check_library(library)
    chosen = server.Settings(model, str(library.absolute()) if library else None, embeddings, words)
    signal.signal(signal.SIGTERM, _interrupt)  # the page must not outlive this command
    child = None
    try:
        child = server.start(port, chosen)
        url = f"http://localhost:{port}"
        show.as_json({"url": url, "port": port, "pid": child.pid}) if json else show.say(
            text("ui_ready", words, url=url)
        )
        code = child.wait()
    except KeyboardInterrupt:
        if child is None:
            raise
        server.stop(child)
        if not json:
            show.say(text("ui_stopped", words))
        return
    raise MachineError(f"the chat page ended by itself (exit code {code}); try: chaintune doctor")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
