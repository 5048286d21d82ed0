"""AdamW with what every stage shares: decay on matrices only, one gradient clip, a rate given at each step, and a state made of plain tensors."""

import math
from typing import Any

import torch

from tuning import devices, sharded


class Optimizer:
    """AdamW (arXiv 1711.05101) over the trainable parameters of `modules`."""

    def __init__(
        self,
        modules: list[torch.nn.Module],
        weight_decay: float = 0.0,
        clip: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(
            {id(p): p for module in modules for p in module.parameters() if p.requires_grad}.values()
        )
        matrices = [p for p in self.parameters if p.ndim > 1]
        vectors = [p for p in self.parameters if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=betas, eps=eps, fused=True)
        self.clip = clip

    def update(self, rate: float) -> float:
        """Apply the gradients that lie on the parameters, of all processes together, at learning rate `rate`, clear them, and return their norm before clipping."""
        devices.add_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return float(sharded.whole(norm))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the state that this process holds as named tensors."""
        state = self._adam.state_dict()["state"]
        return {
            f"{place}.{key}": sharded.local(value) for place, entry in state.items() for key, value in entry.items()
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` returned."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        parameters = [parameter for group in self._adam.param_groups for parameter in group["params"]]
        for name, value in tensors.items():
            place, key = name.split(".", 1)
            state.setdefault(int(place), {})[key] = sharded.like(value, parameters[int(place)])
        self._adam.load_state_dict({"state": state, "param_groups": self._adam.state_dict()["param_groups"]})


def cosine(step: int, steps: int, peak: float, warmup: float, final: float) -> float:
    """Return the learning rate of `step` of `steps`: a linear rise over the share `warmup`, then a cosine down to `final` x `peak`."""
    rise = max(1, round(steps * warmup))
    if step < rise and warmup > 0:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done)))))
