"""The one training loop: every stage runs its steps here, and here they are counted, shown, checked, saved and taken up again.

A stage gives `run` a function that does step number i. What must survive a stop is in a `State`: weights, optimisers, and a few numbers.
A step's data and samples come from (seed, i) and from torch's generator, which the checkpoint holds; so a run that was killed and is
started again with the same configuration ends, on a CPU, with the same weights bit for bit as one that was never stopped.
Checkpoints are safetensors and JSON, written beside and renamed; one that was written on another device is read as well.
"""

import fcntl
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from chains.errors import MachineError, ModelError, UsageError
from chains.home import publish_folder
from tuning import devices, events, memory, placement, sharded
from tuning.optimizer import Optimizer

Metrics = dict[str, float]
CHECKPOINT_S = 30.0
"""Seconds between two checkpoints."""


@dataclass(frozen=True)
class Progress:
    """Where a stage stands: `step` of `steps` done, with that step's numbers."""

    stage: str
    step: int
    steps: int
    metrics: Metrics
    samples: tuple[tuple[str, str], ...] = ()
    """Questions and what the model answers to them now, where a stage looks."""


Report = Callable[[Progress], None]
Look = Callable[[int, Any, Any, Metrics], None]
"""Called with the steps done, the model, its tokenizer and the last step's metrics. A run that is taken up again may call it once more."""


def silent(progress: Progress) -> None:
    """Show nothing."""


@dataclass
class State:
    """All that a stopped run needs to go on: `numbers` is anything JSON can hold."""

    modules: dict[str, torch.nn.Module]
    optimizers: dict[str, Optimizer]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return placement.of(next(iter(self.modules.values())))


def run(
    stage: str,
    steps: int,
    step: Callable[[int], Metrics],
    state: State,
    folder: Path,
    seed: int,
    report: Report = silent,
    checkpoint_s: float | None = None,
    finished: Callable[[], bool] = lambda: False,
    rows: Callable[[int], str] | None = None,
    tensorboard: bool = False,
) -> list[Metrics]:
    """Do steps 0 … steps-1, or fewer once `finished`, from the newest checkpoint in `folder` where there is one, and return every step's metrics.

    `step` reads and changes `state`; `rows` names what a step read; `tensorboard` writes the metrics beside the checkpoints for it to show.
    Raises ModelError, the last checkpoint kept, where a metric is not finite, and UsageError where another process is at the same run.
    An interruption (Ctrl-C) saves a checkpoint and is passed on.
    """
    every_s = CHECKPOINT_S if checkpoint_s is None else checkpoint_s
    with (
        alone(folder),
        nullcontext() if devices.sharding() else memory.kept(),
        placement.random_kept(state.device),
        _Interruption() as interruption,
        events.writing(folder, tensorboard and devices.leads()) as write,
    ):
        torch.manual_seed(seed)
        history = restore(state, folder)
        devices.same_history(len(history))
        for i, metrics in enumerate(history):
            write(i + 1, metrics)
        saved_at = time.monotonic()
        for i in range(len(history), steps):
            if finished():
                break
            devices.reseed(seed, i)
            metrics = step(i)
            _check(stage, i, metrics, folder, rows)
            history.append(metrics)
            write(i + 1, metrics)
            if devices.leads():
                report(Progress(stage, i + 1, steps, metrics))
            (asked,) = devices.total([interruption.asked])
            if asked or (time.monotonic() - saved_at > every_s and i + 1 < steps):
                save(state, history, folder)
                saved_at = time.monotonic()
            if asked:
                raise KeyboardInterrupt
    return history


class _Interruption:
    """While entered, the first Ctrl-C only sets `asked`, so that a step is never cut in half; the second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "_Interruption":
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)


def save(state: State, history: list[Metrics], folder: Path) -> None:
    """Write a checkpoint of everything after `len(history)` steps, and remove all but the last two.

    The first process does it alone; of a divided model each process writes its part.
    """
    with _publishing(folder / f"step-{len(history):08d}") as work:
        if work is None:
            return
        for name, module in state.modules.items():
            sharded.save(module, work / f"weights.{name}")
        for name, optimizer in state.optimizers.items():
            save_file(optimizer.tensors(), sharded.piece(work / f"optimizer.{name}"))
        if devices.leads():
            save_file(placement.random_state(state.device), work / "random.safetensors")
            saved = {"numbers": state.numbers, "history": history, "parts": _parts()}
            (work / "state.json").write_text(json.dumps(saved))
    if devices.leads():
        for old in _checkpoints(folder)[:-2]:
            shutil.rmtree(old, ignore_errors=True)


def _parts() -> int:
    return devices.count() if devices.sharding() else 1


@contextmanager
def _publishing(folder: Path) -> Iterator[Path | None]:
    """Yield the folder to write in, published when all who write have written; None to a process that writes nothing."""
    if devices.leads():
        with publish_folder(folder) as work:
            if devices.sharding():
                devices.agreed(str(work))
            yield work
            if devices.sharding():
                devices.wait()
    elif devices.sharding():
        yield Path(devices.agreed(""))
        devices.wait()
    else:
        yield None


def keep_best(state: State, folder: Path) -> None:
    """Keep the weights of this moment in `folder`/best, in place of those kept before; who writes is as in `save`."""
    with _publishing(folder / "best") as work:
        if work is not None:
            for name, module in state.modules.items():
                sharded.save(module, work / f"weights.{name}")


def take_best(state: State, folder: Path) -> None:
    """Put the weights that `keep_best` kept back into `state`."""
    devices.wait()
    for name, module in state.modules.items():
        sharded.load(module, folder / "best" / f"weights.{name}")


def restore(state: State, folder: Path) -> list[Metrics]:
    """Load the newest checkpoint that can be read into `state`, and return its history; [] where there is none.

    Raises UsageError where a checkpoint's model was divided among another number of processes.
    """
    for path in reversed(_seen_by_all(folder)):
        saved, readable = _read(path, state)
        if readable:
            state.numbers.update(saved["numbers"])
            history: list[Metrics] = saved["history"]
            return history
    return []


def _seen_by_all(folder: Path) -> list[Path]:
    found = _checkpoints(folder)
    if devices.sharding() and devices.agreed(found) != found:
        raise MachineError(
            f"process {devices.rank()} does not see the checkpoints of process 0 in {folder}; "
            "CHAINTUNE_HOME must be one folder that all of them see"
        )
    return found


def _read(path: Path, state: State) -> tuple[dict[str, Any], bool]:
    """Return what a checkpoint says and whether it was loaded: all of it is read by every process that needs it, or nothing of it is taken."""
    saved: dict[str, Any] = {}
    try:
        saved = json.loads((path / "state.json").read_text())
        _check_parts(path, saved.get("parts", 1))
        tensors = {name: load_file(sharded.piece(path / f"optimizer.{name}")) for name in state.optimizers}
        random = load_file(path / "random.safetensors")
        weights = {name: path / f"weights.{name}" for name in state.modules}
        for file in weights.values():
            load_file(sharded.piece(file))
        whole = {"numbers", "history"} <= saved.keys()
    except UsageError:
        raise
    except Exception:  # a damaged file raises many kinds of errors; the checkpoint before it serves
        whole = False
    if devices.sharding():
        whole = devices.total([whole]) == [devices.count()]
    if whole:
        for name, module in state.modules.items():
            sharded.load(module, weights[name])
        for name, optimizer in state.optimizers.items():
            optimizer.load(tensors[name])
        placement.set_random_state(random, state.device)
    return saved, whole


def _check_parts(path: Path, parts: int) -> None:
    if parts != _parts():
        ways = {1: "without FSDP"}
        raise UsageError(
            f"the checkpoint {path} was written {ways.get(parts, f'by FSDP with {parts} processes')}, and this is "
            f"{ways.get(_parts(), f'FSDP with {_parts()} processes')}; go on as it began, or remove {path.parent} to begin anew"
        )


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.is_dir()) if folder.is_dir() else []


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have the checkpoints in `folder` to oneself while the block runs. Raises UsageError where another process has them."""
    if not devices.leads():  # the first process has them for all
        yield
        return
    lock = folder.with_name(f".{folder.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"the same training is running already (its checkpoints are in {folder}); wait for it, or give another seed"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _check(stage: str, i: int, metrics: Metrics, folder: Path, rows: Callable[[int], str] | None) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            kept = _checkpoints(folder)
            where = f"the checkpoint {kept[-1]} is kept" if kept else "no checkpoint was written yet"
            raise ModelError(
                f"{stage} step {i + 1}: {name} is {value}; the training diverged ({where}). "
                f"Lower the learning rate, or look at this step's data{': ' + rows(i) if rows else ''}"
            )
