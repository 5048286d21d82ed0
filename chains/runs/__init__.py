"""What ran, what a person thought of it, and the training data that this makes. It stays on this machine, in one SQLite file.

Every chain records itself: `recent()` and `get(id)` read, `feedback(id, rating=+1)` judges, `to_dataset()` makes chat rows.
`off()` or CHAINTUNE_RUNS=off records nothing; `close()` lets go of the file.
"""

from chains.runs.dataset import to_dataset
from chains.runs.rating import feedback
from chains.runs.read import Run, get, recent
from chains.runs.record import off
from chains.runs.store import close

__all__ = ["Run", "close", "feedback", "get", "off", "recent", "to_dataset"]
