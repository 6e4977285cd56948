"""Calls code as if its input lay on another device, on a machine that has none.

Tensors on PyTorch's `meta` device have a device, a shape and a dtype, and no numbers. An operation
that brings them together with tensors on the CPU is one that would stop on a GPU.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

AWAY = "meta"
# These read one tensor into another, or take places from the CPU, wherever the tensor itself lies.
ACROSS = ("aten::_to_copy", "aten::copy_", "aten::copy")
BY_PLACES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


class DeviceError(RuntimeError):
    """One operation was given tensors on two devices."""


def call_away(target: Any, path: str, args: Sequence[Any]) -> list[str]:
    """Call an object, or a method of its, with everything that it is given on another device.

    Models are copied first, so that nothing moves for good.

    Args:
        target: A function, or a model.
        path: The method's dotted path; "" for the object itself.
        args: What to call it with.

    Returns:
        The devices of the tensors that came back and had not followed.

    Raises:
        DeviceError: If tensors on two devices meet.
    """
    function = _away(target)
    for name in path.split(".") if path else ():
        function = getattr(function, name)
    with _OneDevice():
        result = function(*tree_map(_away, list(args)))
    found = [x.device.type for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
    return [device for device in found if device != AWAY]


def warm_up() -> None:
    """Load what the first call would wait a second for."""
    call_away(torch.neg, "", [torch.zeros(1)])


def _away(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(AWAY)
    return value.to(AWAY) if isinstance(value, torch.Tensor) else value


class _OneDevice(TorchDispatchMode):
    """Stops an operation whose tensors lie on two devices, as a GPU would."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operands = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = func._schema.name
        if name in BY_PLACES and operands[0].device.type == AWAY:
            operands = operands[:1]
        # A single number on the CPU may meet tensors on any device.
        devices = {x.device.type for x in operands if x.dim() or x.device.type == AWAY}
        if len(devices) > 1 and name not in ACROSS:
            raise DeviceError("tensors on two devices meet here")
        return func(*args, **(kwargs or {}))
