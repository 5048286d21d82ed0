"""The page's sidebar: which language, model, instructions and documents; and the conversations so far."""

from dataclasses import dataclass

import streamlit as st

from apps import bots
from apps.text import LANGUAGES, text
from apps.ui import conversations, markup, resources
from apps.ui.server import Settings

_NAMES = {"en": "English", "ko": "한국어"}
_TEMPERATURE = 0.7  # what a model here uses by itself

_LEFT = "<style>.st-key-past button, .st-key-past button > * {justify-content: flex-start; text-align: left}</style>"


@dataclass(frozen=True)
class Choices:
    """What was chosen; `temperature` is None where the model's own is to be used, `model` is None where there is none. `copies` says that
    the model copies its quotes."""

    language: str
    model: str | None
    system: str | None
    temperature: float | None
    library: str | None
    copies: bool = False


def choices(given: Settings) -> Choices:
    """Draw the sidebar and return what is chosen in it."""
    state = st.session_state
    with st.sidebar:
        language = _language(given)
        new = text("new_conversation", language)
        st.button(new, icon=":material/add:", type="primary", width="stretch", key="new", on_click=_open_new)
        model = _model(given, language)
        with st.expander(text("settings", language), icon=":material/tune:", expanded=model is None):
            typed = st.text_input(
                text("other_model", language), key="typed_model", help=text("other_model_help", language)
            )
            system = st.text_area(text("system", language), key="system", placeholder=text("system_example", language))
            temperature = st.slider(
                text("temperature", language),
                0.0,
                2.0,
                _TEMPERATURE,
                0.1,
                key="temperature",
                help=text("temperature_help", language),
            )
            library = st.text_input(
                text("library", language), given.library or "", key="library", help=text("library_help", language)
            )
            copies = st.toggle(text("copy_quotes", language), key="copies", help=text("copy_quotes_help", language))
        _past(language, state.session)
    return Choices(
        language,
        typed.strip() or model,
        system.strip() or None,
        None if temperature == _TEMPERATURE else temperature,
        library.strip() or None,
        copies,
    )


def open_session(session: str) -> None:
    """Show the conversation of this name, a new one where nothing was said in it."""
    st.session_state.session = session
    st.session_state.messages = conversations.messages(session)


def _language(given: Settings) -> str:
    chosen = st.segmented_control(
        "Language / 언어",
        list(LANGUAGES),
        format_func=_NAMES.__getitem__,
        default=given.language,
        key="language",
        label_visibility="collapsed",
    )
    return chosen or given.language


def _open_new() -> None:
    open_session(bots.new_session())


def _model(given: Settings, language: str) -> str | None:
    names = resources.chat_models()
    first = given.model or ("starter" if "starter" in names else None)
    options = [first, *(name for name in names if name != first)] if first else names
    return st.selectbox(text("model", language), options, key="model") if options else None


def _past(language: str, current: str) -> None:
    found = conversations.titles()
    if not found:
        return
    st.html(_LEFT)
    with st.container(key="past", gap=None):
        st.caption(text("conversations", language))
        for session, question in found.items():
            title = question if len(question) <= 28 else question[:27] + "…"
            shown, key, here = markup.label(title), f"open-{session}", session == current
            st.button(
                shown, key=key, type="tertiary", width="stretch", disabled=here, on_click=open_session, args=(session,)
            )
