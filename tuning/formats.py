"""The data formats of tuning: every kind of file and row is read, checked and converted here, and chat and rankings rows are made.

A chat row is {"messages": [{"role", "content", "weight"?}, …]}; a ranking row is {"input": {"messages"}, "outputs": [{"messages", "rank"}, …]}.
`recognise` says what a file is, `check` what is wrong with it, `convert` makes another of it. Every problem is named by file and line, with
what was expected. The work is done in tuning.data; a name loads when it is first used, so that the command line's help stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.data.check import check as check
    from tuning.data.convert import Converted as Converted
    from tuning.data.convert import convert as convert
    from tuning.data.findings import Finding as Finding
    from tuning.data.findings import Row as Row
    from tuning.data.fix import fix as fix
    from tuning.data.recognise import SHAPES as SHAPES
    from tuning.data.recognise import recognise as recognise
    from tuning.data.report import Asked as Asked
    from tuning.data.report import Report as Report
    from tuning.data.rows import chat_row as chat_row
    from tuning.data.rows import place as place
    from tuning.data.rows import ranking_row as ranking_row
    from tuning.data.rows import read as read
    from tuning.data.rows import read_chat as read_chat
    from tuning.data.rows import read_prompts as read_prompts
    from tuning.data.rows import read_rankings as read_rankings
    from tuning.data.rows import write as write
    from tuning.data.write import writing as writing

_HOMES = {
    "Asked": "tuning.data.report",
    "Converted": "tuning.data.convert",
    "Finding": "tuning.data.findings",
    "Report": "tuning.data.report",
    "Row": "tuning.data.findings",
    "SHAPES": "tuning.data.recognise",
    "chat_row": "tuning.data.rows",
    "check": "tuning.data.check",
    "convert": "tuning.data.convert",
    "fix": "tuning.data.fix",
    "place": "tuning.data.rows",
    "ranking_row": "tuning.data.rows",
    "read": "tuning.data.rows",
    "read_chat": "tuning.data.rows",
    "read_prompts": "tuning.data.rows",
    "read_rankings": "tuning.data.rows",
    "recognise": "tuning.data.recognise",
    "write": "tuning.data.rows",
    "writing": "tuning.data.write",
}
NAMES = (
    "rankings", "openai-preference", "openai-reinforcement", "openai-chat", "sharegpt", "hh-rlhf", "trl-stepwise", "trl-unpaired-text",
    "trl-unpaired", "trl-preference-text", "trl-preference", "trl-preference-implicit", "trl-prompt-completion", "trl-prompt-only",
    "trl-prompt-only-text", "text", "completion", "alpaca", "table",
)  # fmt: skip
"""The formats by name, for a help that loads none of them; a test holds that these are all."""

__all__ = ["NAMES", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tuning.formats' has no attribute {name!r}")
