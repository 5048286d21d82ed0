"""The larger part of a document that a found passage stands in: small passages are found well, and a reader wants what is around them.

A parent is the run of passages under the passage's own heading, on its page, grown to both sides for as long as it is at most SIZE
characters. It is a place in the source, like a passage.
"""

from collections.abc import Iterable, Iterator

from retrieval.store import Row, Store

SIZE = 2400  # characters: four passages where characters count


def widened(store: Store, rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the parent of each passage, once: of two passages in one parent, the better-ranked one has it."""
    seen: list[Row] = []
    for row in rows:
        if any(one.source == row.source and one.start <= row.start and row.end <= one.end for one in seen):
            continue
        wide = _parent(store, row)
        seen.append(wide)
        yield wide


def _parent(store: Store, row: Row) -> Row:
    sql = """
        SELECT start, end FROM passages WHERE source_id = (SELECT id FROM sources WHERE source = ?) AND heading = ? AND page IS ?
        ORDER BY start
    """
    places = store.rows(sql, (row.source, row.heading, row.page))
    start, end = row.start, row.end
    after = [place for place in places if place[0] > row.start]
    before = [place for place in places if place[0] < row.start]
    while after or before:
        if after and after[0][1] - start <= SIZE:
            end = max(end, after.pop(0)[1])
        elif before and end - before[-1][0] <= SIZE:
            start = before.pop()[0]
        else:
            break
    ((text,),) = store.rows(
        "SELECT substr(text, ?, ?) FROM sources WHERE source = ?", (start + 1, end - start, row.source)
    )
    return row._replace(start=start, end=end, text=text)
