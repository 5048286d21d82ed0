"""A GPU that is not there: a device of torch whose tensors refuse to meet the CPU's, and whose numbers the CPU computes.

Once `switch_on` was called, a process has the device NAME (torch's PrivateUse1, registered from Python). An operation that is given a tensor
of it and one of the CPU with more than one number fails, as on a GPU, and as nothing on a GPU is allowed to do without saying so: an index
must be there too. So a training that ends on it moves every tensor that has to be moved. It says nothing of kernels, speed or
memory, and knows inference mode only as no_grad.
"""

from contextlib import nullcontext

import torch
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"
MOVES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class There(torch.Tensor):
    """A tensor of the device; `held` has its numbers."""

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=f"{NAME}:0",
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _computed(operation, args, kwargs or {})

    @property
    def data(self):
        """The tensor without its history."""
        return self.detach()

    @data.setter
    def data(self, tensor):
        self.held = tensor.held
        torch.Tensor.data.__set__(self, tensor)

    def __getitem__(self, index):
        return super().__getitem__(_there(index, self.device))

    def __setitem__(self, index, value):
        super().__setitem__(_there(index, self.device), value)

    def tolist(self):
        """Return the numbers."""
        return self.held.tolist()

    def data_ptr(self):
        """Return where the numbers are: what two names share is saved once."""
        return self.held.data_ptr()

    def untyped_storage(self):
        """Return where the numbers are."""
        return self.held.untyped_storage()

    def storage(self):
        """Return where the numbers are."""
        return self.held.storage()

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            made = There(self.held.detach().clone()).requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                made = torch.nn.Parameter(made, self.requires_grad)
            memo[id(self)] = made
        return memo[id(self)]


def _there(index, device):
    """Return an index whose lists are on the device already, as torch brings them to a GPU of its own."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(torch.tensor(part, device=device) if isinstance(part, list) else part for part in parts)


def _computed(operation, args, kwargs):
    moves = operation in MOVES

    def lowered(each):
        if isinstance(each, There):
            return each.held
        if isinstance(each, torch.device):
            return torch.device("cpu")
        if isinstance(each, torch.Tensor) and each.numel() > 1 and not moves:
            raise RuntimeError(f"{operation} is given a tensor of {NAME} and one of the CPU, of {tuple(each.shape)}")
        return each

    done = operation(*tree_map(lowered, args), **tree_map(lowered, kwargs))
    if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu":
        return done
    if operation._schema.is_mutable and not operation._schema.name.endswith("_like"):
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, There)]
        return next((each for each in given if each.held is done), None)
    return tree_map(lambda each: There(each) if isinstance(each, torch.Tensor) else each, done)


def _made_here_first(make):
    """torch fills these new tensors below the level at which a backend in Python is asked."""

    def made(*data, device=None, **more):
        return make(*data, **more) if device is None else make(*data, **more).to(device)

    return made


def switch_on():
    """Give this process the device; it stays to the process's end."""
    _setup_privateuseone_for_python_backend(NAME)
    _device_constructors()  # `with torch.device(…)` knows torch's own from here on, not those that follow
    for name in ("tensor", "arange"):
        setattr(torch, name, _made_here_first(getattr(torch, name)))
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()
    torch.__future__.set_swap_module_params_on_conversion(True)  # a weight that two layers share stays one, as on a GPU
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda operation, *args, **kwargs: _computed(operation, args, kwargs), "PrivateUse1")
    return library
