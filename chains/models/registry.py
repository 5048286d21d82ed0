"""The models on this machine, by name: a folder each under `CHAINTUNE_HOME/models`.

A model is a Hugging Face folder plus `meta.json` (kind, base, method, data hashes, seed, config, metrics, parents). It appears in
one rename, complete or not at all. An entry made by `add` holds only `meta.json`, which points to a folder or a hub id.
Names are OpenAI's for what was tuned here, `ft:<base>:<org>:<suffix>:<id>`; folders write ':' as '--'.
"""

import json
import re
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chains.errors import MachineError, UsageError, nearest
from chains.home import machine_error, models_dir, publish_folder, remove_folder

META = "meta.json"
KINDS = ("chat", "reward")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """A registered model: `source` is what transformers can load, a folder or a hub id."""

    name: str
    path: Path
    meta: dict[str, Any]

    @property
    def source(self) -> str:
        """The folder with the weights, or the hub id that an added entry points to."""
        return str(self.meta.get("source") or self.path)

    @property
    def kind(self) -> str:
        """`chat` for a model that answers, `reward` for one that scores."""
        return str(self.meta.get("kind", "chat"))


def folder(name: str) -> Path:
    """Return where the model called `name` lies, whether it exists or not. Raises UsageError on a name with odd characters."""
    parts = name.split(":")
    if not all(_SLUG.fullmatch(part) or (i == 3 and not part) for i, part in enumerate(parts)) or "--" in name:
        raise UsageError(f"{name!r} cannot name a model; use lower-case letters, digits, '.', '_' and single '-'")
    return models_dir() / name.replace(":", "--")


@contextmanager
def publish(name: str, meta: dict[str, Any]) -> Iterator[Path]:
    """Yield an empty folder to write weights and tokenizer into; when the block ends well it becomes the model `name`."""
    with publish_folder(folder(name)) as work:
        yield work
        text = json.dumps({"name": name, **meta}, ensure_ascii=False, indent=2) + "\n"
        (work / META).write_text(text, encoding="utf-8")


def entries() -> list[Entry]:
    """Return every registered model, sorted by name."""
    found = []
    for path in sorted(models_dir().iterdir()):
        if not path.name.startswith(".") and (path / META).is_file():
            meta = _read_meta(path)
            found.append(Entry(str(meta.get("name") or path.name.replace("--", ":")), path, meta))
    return found


def find(name: str) -> Entry:
    """Return the model called `name`. Raises UsageError, naming the nearest, where there is none."""
    path = folder(name)
    if (path / META).is_file():
        return Entry(name, path, _read_meta(path))
    if name == "starter":
        raise UsageError(
            "there is no model 'starter' yet; run `chaintune demo`, which makes it in a minute, "
            "or `chaintune pretrain` with text of your own"
        )
    known = [entry.name for entry in entries()]
    have = f"have {', '.join(map(repr, known))}" if known else "none is registered yet"
    raise UsageError(f"no model {name!r}; {have}{nearest(name, known) or '.'} See: chaintune models list")


def add(name: str, source: str) -> Entry:
    """Give a Hugging Face folder or hub id the short name `name`. Raises UsageError where the name is taken or the folder is no model."""
    if (folder(name) / META).exists():
        raise UsageError(f"the name {name!r} is taken; choose another, or run: chaintune models rm {name}")
    if name.startswith(("ft:", "hf:", "openai:", "fake:")):
        raise UsageError(f"{name!r} starts like a model made elsewhere; choose a plain name such as 'qwen-small'")
    path = Path(source).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise UsageError(f"{source} is not a Hugging Face model folder: it has no config.json")
        source = str(path.resolve())
    elif path.is_absolute() or source.startswith((".", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise UsageError(f"there is no folder {source}, and it is no hub id such as 'org/model'")
    with publish(name, {"kind": _kind_of(source), "method": "added", "source": source}):
        pass
    return find(name)


def remove(name: str) -> None:
    """Delete the model `name` (only the pointer, where it was added). Raises UsageError where there is none."""
    remove_folder(find(name).path)


def new_name(base: str, suffix: str) -> str:
    """Return a fresh name `ft:<base>:local:<suffix>:<id>` for a model tuned from `base` (a model name: its root base is taken)."""
    if suffix and not (_SLUG.fullmatch(suffix) and "--" not in suffix and len(suffix) <= 64):
        raise UsageError(
            f"suffix {suffix!r} is not usable; use up to 64 lower-case letters, digits, '.', '_' and single '-'"
        )
    letters = string.ascii_lowercase + string.digits
    while True:
        name = f"ft:{root_base(base)}:local:{suffix}:{''.join(secrets.choice(letters) for _ in range(8))}"
        if not folder(name).exists():
            return name


def root_base(name: str) -> str:
    """Return the registry slug of the model that `name` descends from: itself, or the `<base>` of an `ft:` name."""
    if name.startswith("ft:"):
        return name.split(":")[1]
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.removeprefix("hf:").rstrip("/").split("/")[-1].lower()).strip("-.")
    return re.sub(r"-{2,}", "-", slug) or "model"


def _kind_of(source: str) -> str:
    config = Path(source) / "config.json"
    if not config.is_file():
        return "chat"
    architectures = json.loads(config.read_text()).get("architectures") or [""]
    return "reward" if architectures[0].endswith("ForSequenceClassification") else "chat"


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
    except OSError as error:
        raise machine_error(error, path / META, "read") from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(meta, dict):
        raise _damaged(path, "no JSON object")
    return meta


def _damaged(path: Path, why: str) -> MachineError:
    return MachineError(f"{path / META} is damaged ({why}); remove the folder {path} and make the model again")
