"""What the server is started with."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chains.errors import UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIB = 2**20


def half_of_memory() -> int:
    """Return half of this machine's memory, in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True)
class Settings:
    """The server's options, each also a flag of `chaintune serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    """Models served beside the registry's, by name: hf:<folder or hub id>."""
    embeddings: str | None = None
    """An embedding model's folder or hub id, served beside the packaged one."""
    moderation: str | None = None
    """The chat model that judges /v1/moderations; None: not configured."""
    hosts: tuple[str, ...] = ()
    """Names by which this server may be called, beside the loopback ones."""
    origins: tuple[str, ...] = ()
    """Web pages (origins) that may call it from a browser."""
    memory_bytes: int = 0
    """What the loaded models may fill together; 0 takes half of the machine's."""
    max_batch: int = 64
    """Answers that one model writes at a time."""
    max_waiting: int = 64
    """Answers that may wait beside them, over all models; one more is told to come again."""
    max_body_bytes: int = 10 * MIB
    max_file_bytes: int = 512 * MIB
    requests_per_minute: int = 0
    """Of one key; 0 sets no limit."""
    require_key: bool = False
    """Want a key on loopback, too."""
    python_graders: bool = False
    """Run the programs of python graders, each held in a process of its own."""
    launch: tuple[str, ...] = ()
    """The command that starts a job in several processes, such as accelerate launch with its options; none: one process."""
    engine: str | None = None
    """The base URL of another server of OpenAI's API, which answers for the models it has."""
    engine_key: str = field(default="", repr=False)
    """Opens it."""
    jobs: bool = True
    """Run the fine-tuning jobs of the queue."""

    @property
    def open(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOOPBACK

    @property
    def needs_key(self) -> bool:
        """Whether a request without a key is refused."""
        return self.open or self.require_key

    @property
    def budget(self) -> int:
        """What the loaded models may fill, in bytes."""
        return self.memory_bytes or half_of_memory()


def launcher(given: str) -> tuple[str, ...]:
    """Return the words of the command that starts jobs, its program by its path. Raises UsageError where it is not there."""
    try:
        program, *options = shlex.split(given) or [given]
    except ValueError:
        program, options = given, []
    beside = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    if (found := shutil.which(program, path=beside)) is None:
        raise UsageError(
            f"--launch {given!r} names no program that is here; give one such as "
            "'accelerate launch --multi_gpu --num_processes 2'"
        )
    return found, *options


def engine_url(given: str) -> str:
    """Return the base URL of the API at `given`, with or without its /v1. Raises UsageError where it is no URL."""
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--engine {given!r} is no URL; give one such as http://localhost:8001")
    whole = given.rstrip("/")
    return whole if whole.endswith("/v1") else f"{whole}/v1"
