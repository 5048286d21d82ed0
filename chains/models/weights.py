"""A model's weights in memory, read once a process: every LocalChat of the same folder shares them.

A folder with adapter_config.json is a LoRA adapter: its base is loaded as any model is, and all adapters of one base share its
weights (see chains.models.lora). Weights come from safetensors alone, and code that lies beside them is never run. Nothing here loads torch until a model is wanted.
"""

import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chains.errors import MachineError, UsageError
from chains.models import lora

if TYPE_CHECKING:
    from chains.models.engine import Engine

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
_loading = threading.Lock()
_alive: "weakref.WeakValueDictionary[tuple[str, int, str | None, str], Loaded]" = weakref.WeakValueDictionary()
"""Every model that somebody uses, so that none is in memory twice."""


class Loaded:
    """A model and its tokenizer in memory, and the engines that run them."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        tokenizer.deprecation_warnings[_TOO_LONG] = True  # counts as said: we refuse such a prompt in one sentence
        self.encoding = threading.Lock()  # held while text becomes ids: a tokenizer's setting changes underneath
        self.adapter: str | None = None
        """The name under which the model holds the adapter that is meant; None for the model itself."""
        self._decoding = tokenizer  # the engine's, whichever adapter's tokenizer writes the prompts
        self._making = threading.Lock()
        self._engines: dict[int, Engine] = {}

    def engine(self, max_batch: int) -> "Engine":
        """Return the engine that runs at most `max_batch` prompts together."""
        from chains.models.engine import Engine
        from chains.models.marks import kept

        with self._making:
            if max_batch not in self._engines:
                self._engines[max_batch] = Engine(self.model, kept(self._decoding), max_batch)
            return self._engines[max_batch]

    def is_running(self, max_batch: int) -> bool:
        """Say whether that engine is made already."""
        return max_batch in self._engines

    def becomes(self, wrap: Callable[[Any], Any]) -> None:
        """Wrap the model, once what its engines have in flight is done; what is asked from now on runs the wrapped model."""
        with self._making:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()
            self.model = wrap(self.model)


def check_source(source: str) -> str:
    """Return `source`, a folder made absolute or a hub id. Raises UsageError where it cannot be a chat model; loads nothing."""
    path = Path(source).expanduser()
    if path.is_dir():
        _check_folder(path)
        return str(path.resolve())
    if path.exists():
        raise UsageError(f"{source} is a file; give the folder that holds config.json, the tokenizer and *.safetensors")
    if not _HUB_ID.fullmatch(source):
        raise UsageError(f"there is no folder {source}, and it is no hub id such as 'org/model'")
    return source


def _check_folder(path: Path) -> None:
    config = path / "config.json"
    if lora.is_adapter(path):
        check_source(lora.base_of(path))
        return
    if not config.is_file():
        raise UsageError(f"{path} is not a Hugging Face model folder: it has no config.json")
    try:
        architecture = (json.loads(config.read_text()).get("architectures") or [""])[0]
    except (ValueError, AttributeError):
        raise UsageError(f"{config} is not a model's configuration: it is no JSON object") from None
    if architecture.endswith("ForSequenceClassification"):
        raise UsageError(f"{path} holds a reward model, which scores and does not chat; use load_scorer")
    if not any(path.glob("*.safetensors")):
        raise UsageError(
            f"{path} has no *.safetensors weights; other formats can run code when they are read, so save it as safetensors"
        )


def load(source: str, device: str | None, dtype: str) -> Loaded:
    """Return the model of `source` (from `check_source`) in memory; the same object while its weights on disk are the same.

    Raises UsageError where transformers cannot read it, MachineError where weights are missing.
    """
    with _loading:  # one load at a time, so that two threads do not both read the same weights
        if not lora.is_adapter(Path(source)):
            return _load(source, changed(source), device, dtype)
        base = check_source(lora.base_of(Path(source)))
        loaded = _load(base, changed(base), device, dtype)
        with quiet(bars=False):
            return lora.put_on(loaded, source, changed(source))


def changed(source: str) -> int:
    """Return when the folder's weights were last written, in nanoseconds; 0 for a hub id, whose files do not change."""
    return max((file.stat().st_mtime_ns for file in Path(source).glob("*.safetensors")), default=0)


def forget() -> None:
    """Keep no model for those who may come: its memory is free once whoever uses it lets go. One in use is still found."""
    _load.cache_clear()


@lru_cache(maxsize=4)
def _load(source: str, stamp: int, device: str | None, dtype: str) -> Loaded:
    found = _alive.get((source, stamp, device, dtype))
    if found is None:
        found = _alive[source, stamp, device, dtype] = _read(source, device, dtype)
    return found


def _read(source: str, wanted: str | None, dtype: str) -> Loaded:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from chains.models import device, linear

    where = device.chosen(wanted)
    with quiet(bars=not Path(source).is_dir()):  # a download shows how far it is
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            saved = AutoConfig.from_pretrained(source, trust_remote_code=False).dtype
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=device.dtype(dtype, saved, where),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError) as error:
            raise _cannot_load(source, error) from error
    model, report = loaded
    if report["missing_keys"]:
        raise MachineError(
            f"the weights of {source} are not whole: {sorted(report['missing_keys'])[0]} is missing; get the model again"
        )
    model.to(where).eval()
    linear.accelerate(model, keep=False)
    return Loaded(model, tokenizer)


def _cannot_load(source: str, error: Exception) -> UsageError:
    if not Path(source).is_dir() and isinstance(error, OSError):
        return UsageError(
            f"there is no model {source!r}: it is no folder here, and no hub model that is on this machine or can be reached; "
            f"check the name, or fetch it with: hf download {source}"
        )
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return UsageError(f"cannot load {source} as a chat model: {lines[0]}")


@contextmanager
def quiet(bars: bool) -> Iterator[None]:
    """Keep transformers' warnings, and its progress bars unless `bars`, off the user's terminal while the block runs."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled
    from transformers.utils import logging

    level = logging.get_verbosity()
    hide = not bars and logging.is_progress_bar_enabled() and not are_progress_bars_disabled()
    logging.set_verbosity_error()
    if hide:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if hide:
            logging.enable_progress_bar()
