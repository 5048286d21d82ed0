"""Several JSONL files mixed by weights: at every row the file comes next that is most behind its share, so that the shares hold in every
beginning of the mix, not only in the whole (no file is ever a row or more ahead). Each file's own rows come in a seeded order.

Memory is 32 bytes a row: the rows themselves are read where they stand.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from chains.errors import UsageError
from tuning.lines import Advance, Meter, lines, writing

POLICIES = ("stop", "drop", "repeat")


def mix(
    sources: Sequence[Path],
    weights: Sequence[float],
    out: Path,
    seed: int = 0,
    exhausted: str = "stop",
    most: int | None = None,
    advance: Advance | None = None,
) -> list[int]:
    """Write a mix of `sources` into `out` and return how many rows came from each.

    When a file that is next has no rows left: `stop` ends the mix, so that the shares hold and no row comes twice; `drop` goes on with the
    others, so that every row comes once; `repeat` begins it anew in another order, until every file has been through once. `most` ends any
    of them earlier. Raises UsageError for weights that are not positive or not one a file, an empty file, or an unknown policy.
    """
    if len(weights) != len(sources) or not sources or not all(0 < weight < float("inf") for weight in weights):
        raise UsageError(f"weights {list(weights)} do not fit {len(sources)} files; give a positive number for each")
    if exhausted not in POLICIES:
        raise UsageError(f"exhausted={exhausted!r} is unknown; use {', '.join(POLICIES)}")
    meter = Meter(advance, sources, times=2)
    places = [_places(path, meter) for path in sources]
    taken = [0] * len(sources)
    with ExitStack() as stack, writing([out], sources) as (file,):
        readers = [
            _rows(stack.enter_context(path.open("rb")), where, seed + n)
            for n, (path, where) in enumerate(zip(sources, places, strict=True))
        ]
        for source in _schedule([len(where) for where in places], weights, exhausted, most):
            meter.add(file.write(next(readers[source]) + b"\n"))
            taken[source] += 1
    return taken


def _places(path: Path, meter: Meter) -> Any:
    """Return (offset, length) of every row of the file, each line checked to be a JSON object."""
    import numpy

    found = numpy.fromiter(
        (number for line in lines(path, meter) if line.row() is not None for number in (line.offset, len(line.raw))),
        numpy.int64,
    )
    if not len(found):
        raise UsageError(f"{path} holds no rows, so it cannot be mixed in; leave it out")
    return found.reshape(-1, 2)


def _rows(file: IO[bytes], places: Any, seed: int) -> Iterator[bytes]:
    """Yield the rows in a seeded order, and in another again when they end, forever."""
    import numpy

    rng = numpy.random.default_rng(seed)
    while True:
        for place in rng.permutation(len(places)):
            file.seek(int(places[place, 0]))
            yield file.read(int(places[place, 1]))


def _schedule(counts: Sequence[int], weights: Sequence[float], exhausted: str, most: int | None) -> Iterator[int]:
    """Yield which file comes next, by its number."""
    left, share = list(counts), [weight / sum(weights) for weight in weights]
    due, unread = [0.0] * len(counts), set(range(len(counts)))
    step = 0
    while step != most:
        due = [owed + part for owed, part in zip(due, share, strict=True)]
        source = max(range(len(counts)), key=lambda n: (share[n] > 0, round(due[n], 9), -n))
        if not left[source]:  # only under `stop`
            return
        due[source] -= 1
        yield source
        step += 1
        left[source] -= 1
        if left[source] or exhausted == "stop":
            continue
        unread.discard(source)
        if not unread:
            return
        if exhausted == "repeat":
            left[source] = counts[source]
        else:
            share = [0.0 if n == source else part / (1 - share[source]) for n, part in enumerate(share)]
            due[source] = 0.0
