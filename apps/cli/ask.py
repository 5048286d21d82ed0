"""`chaintune ask`: one question over a library, with the sentences that speak for the answer."""

from typing import Annotated

import typer

from apps import bots
from apps.cli import answers, flags, show
from apps.text import language


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    library: flags.Library = None,
    embeddings: flags.Embeddings = None,
    model: flags.Model = "starter",
    system: flags.System = None,
    k: flags.K = 6,
    mode: flags.Mode = "hybrid",
    temperature: flags.Temperature = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Answer one question from documents, and show the sources.

    Example: chaintune ask "공이 밖으로 나가면 어떻게 되나요?" --library ./kb --model starter
    """
    words = language(lang)
    passages = bots.retriever(bots.open_library(library, embeddings), k, mode)
    from chains import Chatbot, load_model

    llm = load_model(model, **flags.given(temperature=temperature))
    bot = Chatbot(llm, passages, bots.new_session(), system)
    if json:
        show.as_json(answers.as_data(bot.ask(question), bot.session, model))
        return
    answers.stream(bot.stream(question))
    answers.print_sources(bot.last.citations if bot.last else [], words)
