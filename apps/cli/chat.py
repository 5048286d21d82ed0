"""`chaintune chat`: a conversation in the terminal, or one message with `-m`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps import bots
from apps.cli import answers, flags, kept, repl, show
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
    rerank: flags.Rerank = None,
    keyword_weight: flags.KeywordWeight = None,
    expand: flags.Expand = None,
    quotes: flags.Quotes = "matched",
    temperature: flags.Temperature = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="List the conversations that are remembered.")] = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write the conversation of --session, or all, to this file as chat JSONL."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Forget the conversation of --session.")] = False,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Talk to a model; it remembers the conversation. Without a terminal, every line of stdin is a question.

    --session NAME goes on with a conversation; --sessions lists them, --export FILE writes them, --delete forgets one.

    Example: chaintune chat --model starter

    Example: chaintune chat --session u42 --export u42.jsonl

    Example: chaintune chat -m "안녕하세요" --model fake:반갑습니다
    """
    words = language(lang)
    if sessions or export is not None or delete:
        kept.keep(session, sessions, export, delete, words, json)
        return
    bots.check_expansion(expand)
    if json and message is None:
        raise UsageError('--json answers one message; add -m "…"')
    found = bots.retriever(bots.open_library(library, embeddings), k, mode, rerank, keyword_weight) if library else None
    from chains import Chatbot, load_model

    llm = load_model(model, **flags.given(temperature=temperature))
    passages = bots.expanded(found, expand, llm, k) if found is not None else None

    def make(name: str) -> "Chatbot":
        return Chatbot(llm, passages, name, system, quotes=quotes)

    session = session or bots.new_session()
    if message is None:
        repl.converse(make, session, model, words, prompt=sys.stdin.isatty())
        return
    bot = make(session)
    if json:
        show.as_json(answers.as_data(bot.ask(message), session, model))
    else:
        answers.stream(bot.stream(message))
        answers.print_rest(bot.last, words)
