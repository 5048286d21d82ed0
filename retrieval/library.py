"""A library: documents on disk, searchable by words and by meaning, and kept in step with their files.

    with Library("./kb") as library:
        report = library.sync("docs/", progress=print)
        for passage in library.search("공이 밖으로 나가면 어떻게 되나요?", k=3):
            print(passage.metadata["source"], passage.text, passage.why)

Its folder holds passages.db (the truth: texts and passages), chroma/ (their vectors) and keywords/ (their index). The last two can be
deleted: the next sync makes them again. One process at a time writes in the folder; any number read it meanwhile. Vectors can also lie
on a Chroma server, named by its URL once; the library remembers it.
"""

import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chains.errors import UsageError, nearest
from chains.passages import END, SOURCE, START
from retrieval import on_ray
from retrieval.crew import crew
from retrieval.keywords import Keywords
from retrieval.kinds import is_picture
from retrieval.lock import library_folder, writing
from retrieval.parser import Limits
from retrieval.pictures import pictures
from retrieval.prepare import covers
from retrieval.rerank import Reranker
from retrieval.scan import scan
from retrieval.search import Passage, Searcher, Wanted
from retrieval.store import Store
from retrieval.sync import TEXTS, Progress, SyncReport, Writer, added
from retrieval.vectors import Vectors, address
from retrieval.web import is_url

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever

    from retrieval.clip import Clip
    from retrieval.vectorstore import LibraryVectorStore

_COLLECTION = re.compile(r"[A-Za-z0-9][\w-]{1,58}[A-Za-z0-9]", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A document of a library: `path` is where its file was at the last sync, `mtime` in seconds since 1970, `size` in bytes."""

    source: str
    path: str
    passages: int
    characters: int
    mtime: float
    size: int


class Library:
    """The library in the folder `path`, made if it is missing.

    `embeddings` is a langchain_core Embeddings; None means LocalEmbeddings(), the packaged English MiniLM. Where it has `covers(text)`,
    passages and questions that it does not know the language of are found by words alone; `name` tells its vectors from another model's.
    A folder can hold several libraries, each a `collection`, the name of its database, its Chroma collection and its keyword index.
    `chroma` is the URL of a Chroma server that keeps the vectors; None means the one that was named before, or else the folder.
    `images` is a CLIP model (clip.py), a folder or a hub id, that pictures are found with; None means the one that was named before; without
    one, pictures are passed over.
    """

    def __init__(
        self,
        path: str | Path,
        embeddings: "Embeddings | None" = None,
        collection: str = "passages",
        chroma: str | None = None,
        images: "str | Clip | None" = None,
    ) -> None:
        if not _COLLECTION.fullmatch(collection):
            raise UsageError(
                f"collection {collection!r} is no name for a file; use 3 to 60 of the characters a-z A-Z 0-9 _ and -"
            )
        self.path = library_folder(Path(path).expanduser().absolute())
        self._embeddings = _packaged() if embeddings is None else embeddings
        self._lock = threading.RLock()
        self._keywords: tuple[int, Keywords] | None = None  # with the state that they are of
        self._store = Store(self.path / f"{collection}.db")
        self._index = self.path / "keywords" / collection
        self._vectors = self._vectors_at(collection, chroma)
        self._searcher = Searcher(self._store, self._vectors, self._current_keywords, self._embeddings)
        try:
            self._pictures = pictures(self._store, self._vectors, images)
            self._check_model()
        except UsageError:
            self._store.close()
            raise

    def sync(
        self,
        place: str | Path | Sequence[str | Path],
        progress: Progress | None = None,
        *,
        urls: bool = False,
        workers: int = 1,
        ray: int = 0,
        limits: Limits | None = None,
        allow_loopback: bool = False,
    ) -> SyncReport:
        """Bring the library in line with a folder, a file or a pattern, or several, and return what was done.

        With `urls` a place may be a URL, which is fetched; never from an address of this machine or its own network, unless a test
        sets `allow_loopback`.

        What was in the folder (or fitted the pattern) at an earlier sync and is gone from the disk leaves the library. Nothing is
        embedded twice. A file that cannot be read is listed; `limits` is what reading one may take. More than one of `workers` read and
        embed in processes of their own, while this one writes. With `ray`, that many workers of a Ray cluster embed, and write into the Chroma
        server themselves (on_ray.py).
        Raises UsageError where a place is missing or holds no document, MachineError where another process writes.
        """
        if workers < 1:
            raise UsageError(f"workers is {workers}; give the number of processes that read and embed, 1 or more")
        on_ray.check(ray, self._url)
        places = [place] if isinstance(place, str | Path) else list(place)
        if not urls and any(map(is_url, places)):
            raise UsageError(
                f"{next(filter(is_url, places))} is a URL; say that URLs may be fetched (urls=True, --allow-url)"
            )
        scopes = [str(one) if is_url(one) else scan(one, but=self.path) for one in places]
        if self._pictures is None and any(map(is_picture, map(str, places))):
            raise UsageError(
                f"{next(one for one in places if is_picture(str(one)))} is a picture, and the library has no image model; "
                "name a CLIP model (images=, --images)"
            )
        with self._writing(workers, limits, ray=ray) as writer:
            return added(
                writer.sync_url(one, allow_loopback, progress) if isinstance(one, str) else writer.sync(one, progress)
                for one in scopes
            )

    def delete(self, source: str) -> None:
        """Take a source out. Its file stays, so a later sync of its folder brings it back. Raises UsageError where there is none."""
        with self._writing() as writer:
            name = self._existing(source)
            writer.remove([file for file in self._store.files() if file.source == name])

    def verify(self) -> int:
        """Compare the vectors with the passages, mend what differs, and return how many vectors were missing or left over."""
        with self._writing() as writer:
            return writer.repair(thorough=True)

    def rebuild(
        self, embeddings: "Embeddings | None" = None, progress: Progress | None = None, *, workers: int = 1
    ) -> None:
        """Split all texts again and embed all passages again, from the texts that the library keeps; the files are not needed.

        With `embeddings` it is that model's library from now on. One that is interrupted is finished by the next sync.
        """
        if embeddings is not None:
            self._embeddings = embeddings
            self._searcher = Searcher(self._store, self._vectors, self._current_keywords, embeddings)
        with self._writing(workers, model=False) as writer:
            writer.rebuild(_name(self._embeddings), progress)

    def search(
        self,
        query: str,
        k: int = 6,
        mode: str = "hybrid",
        where: Mapping[str, Any] | None = None,
        mmr: float | None = None,
        parents: bool = False,
        *,
        weights: Mapping[str, float] | None = None,
        rerank: str | Reranker | None = None,
    ) -> list[Passage]:
        """Return at most `k` passages, best first.

        `mode` is 'hybrid', 'dense' (by meaning) or 'keyword'. A score compares with others of the same question and call: in 'keyword'
        the share of the question that is found, in 'dense' the cosine, in 'hybrid' from 0 to 1, which is first in every way (search.py).
        `where` chooses among sources, headings and pages: {"source": "rules.md"} or {"page": [3, 4]}. `mmr`, from 0 to 1, asks for passages
        that differ from one another: 1 is relevance alone, 0.5 the usual balance (variety.py). `parents` gives what is around each passage
        under its heading (parents.py). `weights` says what the ways of a hybrid search count for, {"keyword": 0.3, "dense": 0.7} where
        it does not. `rerank` is a cross-encoder, a folder or a hub id, that puts the best passages in its own order (rerank.py).
        """
        return self.find(query, _wanted(k, mode, where, mmr, parents, weights, rerank))

    def find(self, query: str, wanted: Wanted) -> list[Passage]:
        """Return what `search` returns, for options that were put together before."""
        return self._searcher.search(query, wanted)

    def as_retriever(
        self,
        k: int = 6,
        mode: str = "hybrid",
        where: Mapping[str, Any] | None = None,
        mmr: float | None = None,
        parents: bool = False,
        *,
        weights: Mapping[str, float] | None = None,
        rerank: str | Reranker | None = None,
    ) -> "BaseRetriever":
        """Return a langchain_core retriever, for invoke and ainvoke; its Documents carry `score`, `scores` and `why` in their metadata."""
        from retrieval.retriever import LibraryRetriever

        return LibraryRetriever(library=self, wanted=_wanted(k, mode, where, mmr, parents, weights, rerank))

    def pictures(self, query: str = "", *, like: str | Path | None = None, k: int = 6) -> list[Passage]:
        """Return at most `k` pictures, nearest first: to a text, or to the picture in the file `like`. Their scores are cosines.

        They have no text; `source` in their metadata is the file. Raises UsageError where no image model was named.
        """
        if self._pictures is None:
            raise UsageError(
                f"the library {self.path} has no image model; name a CLIP model for its pictures (images=, --images) and sync again"
            )
        return self._pictures.search(query, like, k)

    @property
    def vectorstore(self) -> "LibraryVectorStore":
        """The same library as a langchain_core VectorStore, for texts that have no file."""
        from retrieval.vectorstore import LibraryVectorStore

        return LibraryVectorStore(self)

    @property
    def model(self) -> Any:
        """The embedding model."""
        return self._embeddings

    def put_texts(self, texts: Mapping[str, tuple[str, str]]) -> None:
        """Write texts that have no file, each one passage, by their ids, with what is said of them as JSON."""
        with self._writing() as writer:
            writer.put_texts(texts)

    def remove_texts(self, ids: Sequence[str] | None) -> None:
        """Take texts that have no file out, None for all; an id that is not there is passed over."""
        with self._writing() as writer:
            writer.remove(
                [file for file in self._store.files() if file.root == TEXTS and (ids is None or file.source in ids)]
            )

    def texts(self, ids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return the id, the text, and what is said of it as JSON, of those texts that are here."""
        sql = "SELECT source, text, about FROM sources WHERE root = ? AND source = ?"
        return [row for id in dict.fromkeys(ids) for row in self._store.rows(sql, (TEXTS, id))]

    def nearest(self, vector: Sequence[float], k: int) -> list[tuple[str, dict[str, Any], str, float]]:
        """Return the text of the `k` passages nearest to a vector, their source and place, what is said of them, and their cosine."""
        if k < 1 or not self.stats()["embedded"] or not self._vectors.exists:
            return []
        found = self._vectors.nearest(vector, k, None, False, self._store.state())
        rows = [(self._store.passage(id), cosine) for id, cosine in found]
        about = "SELECT about FROM sources WHERE source = ?"
        return [
            (
                row.text,
                {SOURCE: row.source, START: row.start, END: row.end},
                self._store.rows(about, (row.source,))[0][0],
                cosine,
            )
            for row, cosine in rows
            if row is not None
        ]

    def sources(self) -> list[Source]:
        """Return the documents, in the order of their names."""
        rows = self._store.rows("""
            SELECT source, path, (SELECT count(*) FROM passages WHERE source_id = sources.id), length(text), mtime, size
            FROM sources ORDER BY source
        """)
        return [Source(*row) for row in rows]

    def text(self, source: str) -> str:
        """Return the whole text that a source's passages are cut from. Raises UsageError where there is no such source."""
        return self._store.text(self._existing(source)) or ""

    def stats(self) -> dict[str, Any]:
        """Return how much there is: sources, characters, passages, embedded (passages that have a vector), the embedding model, and
        where an image model was named, pictures and that model."""
        ((sources, characters),) = self._store.rows("SELECT count(*), coalesce(sum(length(text)), 0) FROM sources")
        ((passages, embedded),) = self._store.rows(
            "SELECT count(*), coalesce(sum(embedded), 0) FROM passages WHERE NOT picture"
        )
        found = {"sources": sources, "characters": characters, "passages": passages, "embedded": embedded}
        model = {"embeddings": self._store.embeddings()}
        return found | model | (self._pictures.stats() if self._pictures else {})

    def close(self) -> None:
        """Close the files. The library cannot be used after that."""
        self._vectors.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _writing(
        self, workers: int = 1, limits: Limits | None = None, model: bool = True, ray: int = 0
    ) -> Iterator[Writer]:
        """Yield the writer under the library's lock, and bring the keyword index up to date after it. `model`: it must be ours."""
        edge = self._pictures.edge if self._pictures else 0
        with writing(self.path), crew(self._embeddings, limits or Limits(), workers, edge) as hands:
            self._vectors.close()  # another process may have written since it was opened
            if model and self._check_model() != _name(self._embeddings):
                self._store.use(_name(self._embeddings), lambda text: covers(self._embeddings, text))
            writer = Writer(self._store, self._vectors, self._embeddings, hands, self._pictures, ray)
            if self._pictures:
                self._pictures.note()
            writer.renew_terms()
            if self._store.fact("chroma") != self._url:
                writer.repair(thorough=True)
                self._store.note("chroma", self._url)
            yield writer
            state = self._store.state()
            if not Keywords.saved(self._index, state):
                self._current_keywords().save(self._index, state)

    def _vectors_at(self, collection: str, chroma: str | None) -> Vectors:
        """Return the vectors on the server at `chroma`, or on the one named before, or in the folder."""
        self._url: str | None = (chroma or "").rstrip("/") or self._store.fact("chroma")
        if self._url is None:
            return Vectors(self.path / "chroma", collection)
        address(self._url)
        own = self._store.fact("own") or secrets.token_hex(6)  # the library's name beside others on the server
        self._store.note("own", own)
        return Vectors(self._url, f"{collection}-{own}")

    def _current_keywords(self) -> Keywords:
        """Return the keyword index of the library's present state: from memory, from its folder, or made from the passages' terms."""
        with self._lock:
            if self._store.old_terms():
                raise UsageError(
                    f"the words of the library {self.path} were taken by an older chaintune, and searches by words would miss; "
                    "sync or verify it (chaintune index --verify), which takes them again and embeds nothing"
                )
            state = self._store.state()
            if self._keywords is None or self._keywords[0] != state:
                self._keywords = state, Keywords.load(self._index, state) or self._built()
            return self._keywords[1]

    def _built(self) -> Keywords:
        rows = self._store.rows("SELECT id, terms FROM passages WHERE NOT picture ORDER BY id")
        return Keywords.build([id for id, _ in rows], [terms.split() for _, terms in rows])

    def _check_model(self) -> str | None:
        """Return the name of the model whose vectors are here. Raises UsageError where they are another model's than ours."""
        theirs, ours = self._store.embeddings(), _name(self._embeddings)
        if theirs not in (None, ours) and self.stats()["embedded"]:
            raise UsageError(
                f"the library {self.path} holds vectors of {theirs!r}, which do not compare with those of {ours!r}; "
                f"open it with {theirs!r}, or sync your documents into a new folder"
            )
        return theirs

    def _existing(self, source: str) -> str:
        names = [file.source for file in self._store.files()]
        if source not in names:
            raise UsageError(f"the library {self.path} has no source {source!r}{nearest(source, names)}")
        return source


def _wanted(
    k: int,
    mode: str,
    where: Mapping[str, Any] | None,
    mmr: float | None,
    parents: bool,
    weights: Mapping[str, float] | None,
    rerank: str | Reranker | None,
) -> Wanted:
    reader = Reranker(rerank) if isinstance(rerank, str) else rerank
    return Wanted(k, mode, dict(where or {}), mmr, parents, dict(weights or {}), reader)


def _packaged() -> "Embeddings":
    from chains.models.embeddings import LocalEmbeddings

    return LocalEmbeddings()


def _name(embeddings: Any) -> str:
    return str(getattr(embeddings, "name", None) or type(embeddings).__qualname__)
