"""The fine-tuning preparation tool of openai 0.28 (`openai tools fine_tunes.prepare_data`), alive again: a table of prompts and completions
is analysed, each change is offered, and what comes out is, byte for byte, the file that the old tool wrote.

    analysis = analyse("prepared_data.csv")
    examples, changed = analysis.apply(answer=lambda offer: True)
    write(examples, "prepared_data.csv", split=task_type(examples) == CLASSIFICATION)

Checked against its `openai/validators.py`: the order of the checks, what each decides, and the separator and stop that are chosen. The
whole table is in memory, as it was there.
"""

from tuning.prepare.analysis import Analysis, Offer, analyse
from tuning.prepare.examples import CLASSIFICATION, CONDITIONAL, OPEN_ENDED, Example, task_type
from tuning.prepare.note import Note
from tuning.prepare.writing import Written, write

__all__ = [
    "CLASSIFICATION",
    "CONDITIONAL",
    "OPEN_ENDED",
    "Analysis",
    "Example",
    "Note",
    "Offer",
    "Written",
    "analyse",
    "task_type",
    "write",
]
