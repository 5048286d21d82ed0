"""Libraries and models that are loaded in a thread, without the event loop waiting for them.

A loop stands still while another thread keeps the interpreter's lock. Two things did so for up to half a second when the first model was
loaded: the collector, looking through all that the libraries had made, and the linker, reading torch's. So nothing is collected meanwhile,
what the libraries made is never looked through again, and the linker is called without the lock.
"""

import ctypes
import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

_MODULES = ("torch", "transformers", "chains.models.local_chat", "chains.models.engine", "chains.models.scorer")
_OF_TRANSFORMERS = ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM", "AutoModelForSequenceClassification")
_TORCH = ("libtorch_cpu.so", "libtorch.so", "libtorch_python.so")
_LAZY = 1  # RTLD_LAZY of dlfcn.h

_state = threading.Lock()
_importing = threading.Lock()
_within = 0
_ready = False


@contextmanager
def loading() -> Iterator[None]:
    """Collect no garbage while the block runs, in whichever threads it does."""
    global _within
    with _state:
        _within += 1
        gc.disable()
    try:
        yield
    finally:
        with _state:
            _within -= 1
            if not _within:
                gc.enable()


def libraries() -> None:
    """Import what every model needs. The first call takes seconds; call it in a thread."""
    global _ready
    with _importing:
        if _ready:
            return
        with loading():
            _link()
            for name in _MODULES:
                importlib.import_module(name)
            for name in _OF_TRANSFORMERS:  # imported when they are named
                getattr(sys.modules["transformers"], name)
            gc.freeze()
        _ready = True


def _link() -> None:
    """Have the linker read torch's libraries; Python's own import then finds them read. A machine where that cannot be does without."""
    found = find_spec("torch")
    if sys.platform != "linux" or found is None or found.origin is None:
        return
    with suppress(OSError, AttributeError):
        dlopen = ctypes.CDLL(None).dlopen  # called as any foreign function is, without the interpreter's lock
        dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
        for name in _TORCH:
            dlopen(str(Path(found.origin).parent / "lib" / name).encode(), _LAZY)
