"""Finds the module behind a function, and evaluates modules without training effects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def module_of(function: Callable[..., Any]) -> nn.Module | None:
    """Return the module that a function belongs to.

    Args:
        function: A module, a method of a module, or any other callable.

    Returns:
        The module, or None if there is none (a lambda, a plain function).

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> module_of(layer.forward) is layer, module_of(abs)
        (True, None)
    """
    owner = getattr(function, "__self__", function)
    return owner if isinstance(owner, nn.Module) else None


@contextmanager
def evaluation_mode(*modules: nn.Module | None) -> Iterator[None]:
    """Switch off gradients, dropout and batch norm's updates, and restore the state at the end.

    Args:
        modules: Each module is set to evaluation mode with all its parts. None is ignored.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2).eval())
        >>> with evaluation_mode(model):
        ...     print(model[0].training, torch.is_grad_enabled())
        False False
        >>> model[0].training, model[1].training
        (True, False)
    """
    training = [part for module in modules if module for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True
