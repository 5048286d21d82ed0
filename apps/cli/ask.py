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
    rerank: flags.Rerank = None,
    keyword_weight: flags.KeywordWeight = None,
    expand: flags.Expand = None,
    quotes: flags.Quotes = "matched",
    temperature: flags.Temperature = None,
    lang: flags.Language = None,
    json: flags.Json = False,
) -> None:
    """Answer one question from documents, and show the sources.

    Example: chaintune ask "공이 밖으로 나가면 어떻게 되나요?" --library ./kb --model starter
    """
    words = language(lang)
    bots.check_expansion(expand)
    passages = bots.retriever(bots.open_library(library, embeddings), k, mode, rerank, keyword_weight)
    from chains import Chatbot, load_model

    llm = load_model(model, **flags.given(temperature=temperature))
    bot = Chatbot(llm, bots.expanded(passages, expand, llm, k), bots.new_session(), system, quotes=quotes)
    if json:
        show.as_json(answers.as_data(bot.ask(question), bot.session, model))
        return
    answers.stream(bot.stream(question))
    answers.print_rest(bot.last, words)
