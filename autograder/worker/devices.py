"""Calls code with inputs on PyTorch's `meta` device, to find code that would fail on a GPU.

A tensor on the `meta` device has a device, a shape and a dtype, and no values. An operation on a
`meta` tensor and a CPU tensor would also fail on a GPU and a CPU tensor. No GPU is needed.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

META = "meta"
# Operations that may mix devices: copies between tensors, and indexing with CPU indices.
COPY_OPERATIONS = ("aten::_to_copy", "aten::copy_", "aten::copy")
INDEX_OPERATIONS = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


# In the message of a `DeviceError`: a parameter is not created by the call.
PARAMETER = "a parameter and a tensor"


class DeviceError(RuntimeError):
    """One operation has tensors on two devices."""


def call_on_meta_device(target: Any, path: str, args: Sequence[Any]) -> list[str]:
    """Call an object, or one of its methods, with all inputs on the `meta` device.

    Models are copied first, so the caller's models keep their device.

    Args:
        target: A function or a model.
        path: The dotted path of the method; "" for the object itself.
        args: The arguments of the call.

    Returns:
        The devices of those tensors in the result that are not on the `meta` device.

    Raises:
        DeviceError: If one operation has tensors on two devices.
    """
    function = _to_meta(target)
    for name in path.split(".") if path else ():
        function = getattr(function, name)
    with _OneDevice():
        result = function(*tree_map(_to_meta, list(args)))
    found = [x.device.type for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
    return [device for device in found if device != META]


def chooses_device(sources: Sequence[str], names: dict[str, Any]) -> bool:
    """Return whether a notebook asks which devices exist, or has a variable for its device.

    Args:
        sources: The cells that ran here.
        names: The global names. IPython keeps the cells of a live notebook in `In`.
    """
    history = names.get("In")
    cells = [*sources, *(history if isinstance(history, list) else ())]
    asks = any(isinstance(cell, str) and "is_available(" in cell for cell in cells)
    return asks or any(isinstance(value, torch.device) for value in list(names.values()))


def preload() -> None:
    """Make one call in advance; the first call takes about a second longer than later ones."""
    call_on_meta_device(torch.neg, "", [torch.zeros(1)])


def _to_meta(value: Any) -> Any:
    """Return a copy of a model or tensor on the `meta` device; other values as they are."""
    if isinstance(value, nn.Module):
        # A tensor with a graph, such as a stored loss, cannot be copied with it.
        stored = [x for module in value.modules() for x in vars(module).values()]
        computed = [x for x in stored if isinstance(x, torch.Tensor) and not x.is_leaf]
        copies = {id(x): x.detach() for x in computed}
        # The numbers of the parameters are not needed: copying them takes long.
        for x in value.parameters():
            if type(x) is nn.Parameter:
                copies[id(x)] = nn.Parameter(torch.empty_like(x, device=META), x.requires_grad)
        return copy.deepcopy(value, copies).to(META)
    return value.to(META) if isinstance(value, torch.Tensor) else value


class _OneDevice(TorchDispatchMode):
    """Raises DeviceError at an operation with tensors on two devices, as PyTorch does on a GPU."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = func._schema.name
        if name in INDEX_OPERATIONS and operands[0].device.type == META:
            operands = operands[:1]
        # A CPU tensor with 0 dimensions may be combined with tensors on any device.
        devices = {x.device.type for x in operands if x.dim() or x.device.type == META}
        if len(devices) > 1 and name not in COPY_OPERATIONS:
            elsewhere = [x for x in operands if x.dim() and x.device.type != META]
            old = any(isinstance(x, nn.Parameter) for x in elsewhere)
            raise DeviceError(
                f"{name} has {PARAMETER if old else 'tensors'} on two devices; put all of its "
                "tensors on the input's device"
            )
        return func(*args, **(kwargs or {}))
