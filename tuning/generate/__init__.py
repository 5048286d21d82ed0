"""Makes training data by asking a model: instructions from seeds, dialogs, answers to rank, questions from passages.

Each maker asks through the chains, on any model's name, and writes down what came back as it comes (`journal`), so that a run that was cut
off goes on where it was. `chaintune data` has a command for each.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.generate import ask, dialog, grounded, instruct, journal, judge, label, rank, rouge, seeds

__all__ = ["ask", "dialog", "grounded", "instruct", "journal", "judge", "label", "rank", "rouge", "seeds"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"tuning.generate.{name}")
    raise AttributeError(f"module 'tuning.generate' has no attribute {name!r}")
