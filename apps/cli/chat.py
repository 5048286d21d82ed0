"""`chaintune chat`: a conversation in the terminal, or one message with `-m`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from apps import bots
from apps.cli import answers, flags, repl, show
from apps.text import language
from chains.errors import UsageError

if TYPE_CHECKING:
    from chains.chatbot import Chatbot


def chat(
    message: Annotated[str | None, typer.Option("--message", "-m", help="Say this, print the answer, and end.")] = None,
    model: flags.Model = "starter",
    system: flags.System = None,
    session: Annotated[str | None, typer.Option("--session", help="Go on with the conversation of this name.")] = None,
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    k: flags.K = 6,
    mode: flags.Mode = "hybrid",
    temperature: flags.Temperature = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Talk to a model; it remembers the conversation. Without a terminal, every line of stdin is a question.

    Example: chaintune chat --model starter

    Example: chaintune chat -m "안녕하세요" --model fake:반갑습니다
    """
    words = language(lang)
    if json and message is None:
        raise UsageError('--json answers one message; add -m "…"')
    passages = bots.retriever(bots.open_library(library, embeddings), k, mode) if library else None
    from chains import Chatbot, load_model

    llm = load_model(model, **flags.given(temperature=temperature))

    def make(name: str) -> "Chatbot":
        return Chatbot(llm, passages, name, system)

    session = session or bots.new_session()
    if message is None:
        repl.converse(make, session, model, words, prompt=sys.stdin.isatty())
        return
    bot = make(session)
    if json:
        show.as_json(answers.as_data(bot.ask(message), session, model))
    else:
        answers.stream(bot.stream(message))
        answers.print_sources(bot.last.citations if bot.last else [], words)
