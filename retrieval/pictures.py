"""The pictures of a library: their vectors, by a CLIP model, lie in a Chroma collection beside the passages'.

A picture is one passage without text. It is found by no word and no embedding of text, and text is not found by its model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chains.errors import UsageError
from chains.passages import SOURCE
from retrieval import loaders
from retrieval.clip import Clip
from retrieval.search import Passage, passage
from retrieval.store import Row, Store
from retrieval.text import Picture, Unreadable, clean
from retrieval.vectors import Vectors

IMAGES = "images"
"""The fact of a library that names its image model."""

_EDGE = "image edge"
_WAY = "image"  # what a picture's score and rank are called


class Pictures:
    """The pictures in `store`, with the model that their vectors are by."""

    def __init__(self, store: Store, vectors: Vectors, model: Clip) -> None:
        self.model = model
        self.vectors = vectors
        self._store = store

    @property
    def edge(self) -> int:
        """The length of a picture's shorter side, which is noted so that a sync without new pictures loads no model."""
        noted = self._store.fact(_EDGE) if self._store.fact(IMAGES) == self.model.name else None
        return int(noted or self.model.edge)

    def note(self) -> None:
        """Note that this is the library's image model. Raises UsageError where it is none."""
        if self._store.fact(IMAGES) != self.model.name:
            self._store.note(_EDGE, str(self.model.edge))
            self._store.note(IMAGES, self.model.name)

    def search(self, query: str, like: str | Path | None, k: int) -> list[Passage]:
        """Return at most `k` pictures, nearest first. Raises UsageError on what cannot be looked for."""
        query = clean(query).strip()
        if bool(query) == (like is not None):
            raise UsageError("pictures are found by a text or by a picture; give one of the two")
        if k < 1:
            raise UsageError(f"k is {k}; give the number of pictures that are wanted, 1 or more")
        ids = self._store.embedded(picture=True)
        if not ids or not self.vectors.exists:
            return []
        vector = self.model.embed_texts([query])[0] if like is None else self._vector_of(Path(like).expanduser())
        near = self.vectors.nearest(vector, min(k, len(ids)), None, False, self._store.state())
        found = ((rank, self._store.passage(id), cosine) for rank, (id, cosine) in enumerate(near, 1))
        return [
            passage(row, cosine, f"{_WAY} {rank}", {_WAY: cosine}) for rank, row, cosine in found if row is not None
        ]

    def embed(self, rows: Sequence[Row], read: Mapping[str, Picture]) -> list[str]:
        """Write the vectors of these pictures, and return the sources that cannot be read any more.

        `read` has, by their sources, those that were read already; the others are read from their files.
        """
        there: list[tuple[Row, Picture]] = []
        lost: list[str] = []
        for row in rows:
            try:
                there.append((row, read.get(row.source) or self._again(row)))
            except Unreadable:
                lost.append(row.source)
        if there:
            made = self.model.embed_pictures([picture for _, picture in there])
            self.vectors.add([row.id for row, _ in there], made, [about(row) for row, _ in there])
        return lost

    def stats(self) -> dict[str, Any]:
        """Return how many there are, and the model."""
        return {"pictures": len(self._store.embedded(picture=True)), "images": self.model.name}

    def _vector_of(self, file: Path) -> np.ndarray:
        try:
            seen = loaders.picture(file, self.edge)
        except Unreadable as error:
            raise UsageError(f"{file} {error}") from error
        vector: np.ndarray = self.model.embed_pictures([seen])[0]
        return vector

    def _again(self, row: Row) -> Picture:
        ((path,),) = self._store.rows("SELECT path FROM sources WHERE source = ?", (row.source,))
        return loaders.picture(Path(path), self.edge)


def pictures(store: Store, vectors: Vectors, named: str | Clip | None) -> Pictures | None:
    """Return the pictures beside the library's `vectors`, by the model that is named or the one named before; None without one.

    Raises UsageError where they have vectors of another model.
    """
    theirs = store.fact(IMAGES)
    if not (named or theirs):
        return None
    model = Clip(named) if isinstance(named, str) else named or Clip.remembered(theirs)
    if theirs not in (None, model.name) and store.embedded(picture=True):
        raise UsageError(
            f"the library's pictures have vectors of {theirs!r}, which do not compare with those of {model.name!r}; "
            f"open it with {theirs!r}, or sync your pictures into a new folder"
        )
    return Pictures(store, vectors.beside(_WAY), model)


def about(row: Row) -> dict[str, Any]:
    """Return what Chroma has beside a picture's vector."""
    return {SOURCE: row.source}
