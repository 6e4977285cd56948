"""Counts the updates of each parameter by optimizers, in a live notebook.

With this number, the check of a training can tell a model that was trained once from one whose
training cell ran twice.
"""

from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.weak import WeakIdKeyDictionary

# The number of updates, by parameter; only the first trainable parameter of a group is counted.
_updates: Any = WeakIdKeyDictionary()
# How many calls of `step` each optimizer is in: a subclass calls the `step` of its base.
_depth: Any = WeakIdKeyDictionary()
_installed = False


def count_updates() -> None:
    """Count the updates of all optimizers from now on."""
    global _installed
    if not _installed:
        _installed = True
        register_optimizer_step_pre_hook(_before)
        register_optimizer_step_post_hook(_after)


def updates_of(model: torch.nn.Module) -> int:
    """Return how often an optimizer has updated a model; 0 if that is not known."""
    return max((_updates.get(parameter, 0) for parameter in model.parameters()), default=0)


def _before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    _depth[optimizer] = _depth.get(optimizer, 0) + 1


def _after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    _depth[optimizer] -= 1
    if _depth[optimizer]:
        return
    for group in optimizer.param_groups:
        first = next((p for p in group["params"] if p.requires_grad), None)
        if first is not None:
            _updates[first] = _updates.get(first, 0) + 1
