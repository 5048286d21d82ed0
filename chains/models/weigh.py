"""A piece's scores become its weights in one compiled pass on a CPU: softcap, peak, exponential and sum, over what each token sees alone.

torch takes seven passes for it, each over a float32 copy, and over what is hidden, too. Shapes: M rows of scores, T tokens of the piece.
"""

import numpy as np
import torch

from chains.models import compiled
from chains.models.compiled import F


def weigh(
    scores: torch.Tensor, last: torch.Tensor | None, scaling: float, window: int | None, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn products (..., T) into exp(score - peak) where they lie, 0 where a token is not seen; return these weights' sums and the peaks (...).

    last: the last of the T tokens that each row sees, broadcasting to (...); None: all of them. window: how many it sees at most, that one
    included. The sums and peaks are float32; a row that sees nothing has the sum 0 and the peak -1e30.
    """
    flat = compiled.numbers(scores.view(-1, scores.shape[-1]))
    rows, width = flat.shape
    totals, peaks = np.empty(rows, F), np.empty(rows, F)
    high = np.full(rows, width) if last is None else last.expand(scores.shape[:-1]).reshape(-1).numpy() + 1
    low = np.zeros(rows, np.int64) if window is None else np.maximum(high - window, 0)
    rest = (F(scaling), F(softcap or 0), totals, peaks)
    compiled.share(lambda begin, end: compiled.weigh_rows(flat, low, high, begin, end, *rest), rows, 16 * rows * width)
    return torch.from_numpy(totals).view(scores.shape[:-1]), torch.from_numpy(peaks).view(scores.shape[:-1])
