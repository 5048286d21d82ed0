"""A training's numbers for TensorBoard: an event file beside the checkpoints while it runs, and beside the model afterwards.

A run that is taken up again writes its file anew, from the checkpoint's history on, so that no step is in it twice.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Write = Callable[[int, dict[str, float]], None]
"""Called with how many steps are done, and the last one's numbers."""
FOLDER = "tensorboard"


@contextmanager
def writing(folder: Path, wanted: bool) -> Iterator[Write]:
    """Yield a function that adds a step to a new event file in `folder`/tensorboard, or does nothing where none is `wanted`."""
    if not wanted:
        yield lambda step, metrics: None
        return
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    with SummaryWriter(str(folder / FOLDER), flush_secs=10) as writer:

        def write(step: int, metrics: dict[str, float]) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)

        yield write
