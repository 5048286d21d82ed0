"""The other libraries' environment: a virtual environment made once from peers.txt, apart from the product's own."""

import os
import subprocess
import sys
import venv
from pathlib import Path

PINS = Path(__file__).with_name("peers.txt")
COMPILED = "llama-cpp-python"  # source alone: it may fail where the others do not


def python(folder: Path) -> Path:
    """Return the interpreter of the environment in `folder`."""
    return folder / "bin" / "python"


def pins() -> list[str]:
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def ready(folder: Path) -> bool:
    """Say whether the environment is made of today's pins."""
    mark = folder / "pins.txt"
    return mark.is_file() and mark.read_text(encoding="utf-8").splitlines() == pins()


def setup(folder: Path) -> None:
    """Make the environment; a library that cannot be installed is named on stderr, and its comparisons are left out."""
    print(f"making the peers' environment in {folder}; {COMPILED} is compiled, which takes minutes", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    rest = [pin for pin in pins() if not pin.startswith(COMPILED)]
    _install(folder, rest)
    _install(folder, [pin for pin in pins() if pin not in rest], {"CMAKE_ARGS": "-DGGML_NATIVE=ON"})
    (folder / "pins.txt").write_text("\n".join(pins()) + "\n", encoding="utf-8")


def _install(folder: Path, wanted: list[str], more: dict[str, str] | None = None) -> None:
    command = [str(python(folder)), "-m", "pip", "install", "-qq", *wanted]
    done = subprocess.run(command, env={**os.environ, **(more or {})}, stdout=sys.stderr, check=False)
    if done.returncode:
        print(f"could not install {', '.join(wanted)}: their comparisons are left out", file=sys.stderr)
