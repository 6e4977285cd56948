"""Calls a student's model from outside: finds the module behind a function, sets its mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def module_of(function: Callable[..., Any]) -> nn.Module | None:
    """Find the module that a function belongs to.

    Args:
        function: a module, a method of one, or any other callable.

    Returns:
        The module, None if there is none to be found (a lambda, a plain function).

    Example:
        >>> layer = nn.Linear(2, 3)
        >>> module_of(layer.forward) is layer, module_of(abs)
        (True, None)
    """
    owner = getattr(function, "__self__", function)
    return owner if isinstance(owner, nn.Module) else None


@contextmanager
def evaluation_mode(*modules: nn.Module | None) -> Iterator[None]:
    """Switch off gradients, dropout and batch norm's updates for a while; then all is as before.

    Args:
        modules: each is set to evaluation with its parts; None is passed over.

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
