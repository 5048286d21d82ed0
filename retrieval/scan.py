"""Which files a sync is about, and by which names their passages will be known."""

import glob
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from chains.errors import UsageError
from retrieval.kinds import KINDS, NOT_READ, PICTURES, is_picture

_MAGIC = frozenset("*?[")
_HIDDEN = (".", "~$")  # ~$: what Office leaves beside an open file
_LOOKED_AT = KINDS.keys() | PICTURES.keys() | NOT_READ.keys()


@dataclass(frozen=True)
class Scope:
    """What was named: `root` is a folder, a pattern or a file, all absolute; `folder` is what the files' names are relative to."""

    root: str
    folder: Path
    files: tuple[Path, ...]

    def covers(self, path: str, root: str) -> bool:
        """Return whether a known source at `path`, synced as `root`, belongs to this scope: where its file is gone, it goes too."""
        return root == self.root or (self.root == str(self.folder) and PurePath(path).is_relative_to(self.folder))


def scan(place: str | Path, but: Path) -> Scope:
    """Return what `place` names, without hidden files and without what lies in the folder `but` (the library's own).

    Raises UsageError where there is nothing of that name, or a single file of a kind that is not read.
    """
    path = Path(place).expanduser().absolute()
    if path.is_dir():
        path = path.resolve()
        return Scope(str(path), path, tuple(_in_folder(path, but)))
    if path.exists():
        path = path.resolve()
        if path.suffix.lower() not in KINDS and not is_picture(path.name):
            raise UsageError(f"{place} is of a kind that is not read; the kinds are {', '.join(KINDS)}")
        return Scope(str(path), path.parent, (path,))
    if not _MAGIC & set(str(place)):
        raise UsageError(
            f"there is no file or folder {place}; give a folder of documents, one document, or a pattern such as 'docs/*.md'"
        )
    plain = next(parent for parent in path.parents if not _MAGIC & set(str(parent)))
    folder = plain.resolve()
    pattern = str(folder / path.relative_to(plain))
    found = (Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
    return Scope(pattern, folder, tuple(file for file in found if _is_document(file, folder, but)))


def source_name(path: Path, folder: Path) -> str:
    """Return the name of a file: its path below the folder, with '/' between and composed characters."""
    return unicodedata.normalize("NFC", path.relative_to(folder).as_posix())


def _in_folder(folder: Path, but: Path) -> Iterator[Path]:
    """Yield the documents below the folder in the order of their paths: by entries, since a Path for each costs more than reading it."""
    found: list[str] = []
    waiting = [] if but in (folder, *folder.parents) else [str(folder)]
    while waiting:
        with suppress(PermissionError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(_HIDDEN):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting += [entry.path] if entry.path != str(but) else []
                elif os.path.splitext(entry.name)[1].lower() in _LOOKED_AT and _counts(entry, folder):
                    found.append(entry.path)
    yield from map(Path, sorted(found, key=lambda path: path.split(os.sep)))


def _counts(entry: os.DirEntry[str], folder: Path) -> bool:
    """Return whether it is a file, and where it is a link, one to a file inside the folder."""
    return entry.is_file() and (not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(folder))


def _is_document(file: Path, folder: Path, but: Path) -> bool:
    """Return whether it is a file that holds a document; a link counts where it leads to one inside the folder."""
    if any(part.startswith(_HIDDEN) for part in file.relative_to(folder).parts) or but in file.parents:
        return False
    if file.suffix.lower() not in _LOOKED_AT:
        return False
    return file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(folder))
