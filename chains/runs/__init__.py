"""What ran, what a person thought of it, and the training data that this makes. It stays on this machine, in one SQLite file.

Every chain records itself: `recent()` and `get(id)` read, `feedback(id, rating=+1)` judges (`unrate(id)` takes that back),
`to_dataset()` makes chat rows, `to_spans()` OpenTelemetry's traces. `redact(function)` has every text pass through it before it is written; `off()` or CHAINTUNE_RUNS=off
records nothing. A run is on disk within 0.2 s of its end, at once with `flush()` and before anything is read or judged; `close()` lets
go of the file.
"""

from chains.runs.dataset import to_dataset
from chains.runs.ids import new_id
from chains.runs.otel import to_spans
from chains.runs.rating import feedback, unrate
from chains.runs.read import Run, after, get, recent
from chains.runs.record import off
from chains.runs.redaction import redact
from chains.runs.store import close
from chains.runs.writer import flush

__all__ = [
    "Run",
    "after",
    "close",
    "feedback",
    "flush",
    "get",
    "new_id",
    "off",
    "recent",
    "redact",
    "to_dataset",
    "to_spans",
    "unrate",
]
