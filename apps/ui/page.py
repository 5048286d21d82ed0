"""The chat page. Streamlit runs this file from top to bottom at every event; what lasts is in the session state and the run store."""

from contextlib import closing
from typing import Any

import streamlit as st

from apps import bots
from apps.failures import failure
from apps.text import text
from apps.ui import conversations, markup, resources, server, sidebar
from apps.ui.conversations import Message, Source
from apps.ui.sidebar import Choices
from chains import Chatbot, runs

_CURSOR = " ▌"
_AVATARS = {"user": ":material/person:", "assistant": ":material/smart_toy:"}


def main() -> None:
    """Draw the page."""
    given = server.settings()
    st.set_page_config(page_title=text("title", given.language), page_icon="💬")
    if "session" not in st.session_state:
        sidebar.open_session(bots.new_session())
    try:
        _chat(sidebar.choices(given))
        if problem := st.session_state.pop("problem", None):
            st.error(problem, icon=":material/error:")
    except Exception as error:  # whatever it is, a reader is told one sentence
        st.error(failure(error).message, icon=":material/error:")


def _chat(chosen: Choices) -> None:
    language = chosen.language
    question = st.chat_input(text("ask_here", language), disabled=chosen.model is None, max_chars=20_000)
    messages: list[Message] = st.session_state.messages
    if chosen.model is None:
        st.info(text("no_model", language), icon=":material/info:")
    elif not messages and not question:
        _hello(chosen)
    for message in messages:
        _draw(message, language)
    if question and chosen.model:
        _exchange(question, chosen)


def _hello(chosen: Choices) -> None:
    st.subheader(text("hello_library" if chosen.library else "hello", chosen.language), anchor=False)
    if chosen.model == "starter":
        st.caption(text("starter_note", chosen.language))


def _exchange(question: str, chosen: Choices) -> None:
    """Ask, show the answer as it comes, and draw the page again with the whole of it."""
    messages: list[Message] = st.session_state.messages
    messages.append(Message("user", question))
    _draw(messages[-1], chosen.language)
    messages.append(Message("assistant", stopped=True))  # until it is whole: a click on stop runs the page anew
    try:
        messages[-1] = _stream(messages[-1], question, chosen)
    except Exception as error:
        messages[-1] = Message("error", failure(error).message)
    st.rerun()


def _stream(message: Message, question: str, chosen: Choices) -> Message:
    with st.chat_message("assistant", avatar=_AVATARS["assistant"]):
        place = st.empty()
        with place, st.spinner(text("loading", chosen.language, model=chosen.model)):
            llm = resources.model(str(chosen.model))
            retriever = resources.retriever(chosen.library, server.settings().embeddings) if chosen.library else None
        quotes = "decoded" if retriever is not None and chosen.copies else "matched"
        bot = Chatbot(llm, retriever, st.session_state.session, chosen.system, quotes=quotes)
        place.markdown(_CURSOR)
        st.button(text("stop", chosen.language), key="stop", icon=":material/stop_circle:", type="tertiary")
        sampling: dict[str, Any] = {} if chosen.temperature is None else {"temperature": chosen.temperature}
        pieces: Any = bot.stream(question, **sampling)
        with closing(pieces):  # so that the model stops where the page does
            for piece in pieces:
                message.text += piece
                place.markdown(markup.safe(message.text) + _CURSOR)
    return conversations.answered(bot.last) if bot.last else message


def _draw(message: Message, language: str) -> None:
    if message.role == "error":
        st.error(message.text, icon=":material/error:")
        return
    with st.chat_message(message.role, avatar=_AVATARS[message.role]):
        st.markdown(markup.safe(message.text))
        if message.stopped:
            st.caption(text("stopped", language))
        for note in message.notes:
            st.warning(note, icon=":material/info:")
        if message.sources:
            _sources(message.sources, language)
        if message.id:
            _judge(message, language)


def _sources(sources: list[Source], language: str) -> None:
    st.caption(text("sources", language))
    for number, source in enumerate(sources, 1):
        page = text("page_number", language, page=source.page) if source.page is not None else ""
        where = " · ".join(filter(None, [source.source, page, source.heading or ""]))
        with st.expander(f"{number}. {markup.label(where)}"):
            st.html(markup.highlighted(source.before, source.quote, source.after))


def _judge(message: Message, language: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        key = f"thumb-{message.id}"
        before = {1: 1, -1: 0}.get(message.rating or 0)
        st.feedback("thumbs", key=key, default=before, on_change=_rate, args=(message, key))
        with st.popover(text("improve", language), type="tertiary", help=text("improve_help", language)):
            better = st.text_area(text("better_answer", language), message.text, key=f"better-{message.id}")
            if st.button(text("save", language), key=f"save-{message.id}", disabled=not better.strip()):
                _keep(message.id, correction=better)
                st.toast(text("saved", language))


def _rate(message: Message, key: str) -> None:
    thumb = st.session_state.get(key)
    if thumb is not None:
        message.rating = 1 if thumb else -1
        _keep(message.id, rating=message.rating)


def _keep(id: str, **feedback: Any) -> None:
    try:
        runs.feedback(id, **feedback)
    except Exception as error:  # this runs before the page is drawn, which then tells it
        st.session_state.problem = failure(error).message


if __name__ == "__main__":
    main()
