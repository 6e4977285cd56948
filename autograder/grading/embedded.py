"""The functions of a script that reproduces a check; `grading.closure` copies their source text.

They need PyTorch only. The functions of the worker that they use are copied too.
"""

import base64
import contextlib
import importlib.abc
import importlib.machinery
import linecache
import random
import sys
import traceback
import types
import zlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import nn

from autograder.worker.worker import CELL, compile_cell


class StandIn(types.ModuleType):
    """A module that is not installed here: each of its names is a `MagicMock`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes a `StandIn` for each module of some packages, if they are not installed.

    Args:
        packages: The names of the packages.
    """

    def __init__(self, packages: list[str]):
        self.packages = packages

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Return a spec for a module of these packages."""
        if name.partition(".")[0] not in self.packages:
            return None
        if "." not in name:
            print(f"The package {name} is not installed. Its functions do nothing here.")
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """Make the module."""
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing."""


def run_cells(cells: list[tuple[str, str]], packages: list[str]) -> dict[str, Any]:
    """Run the notebook's cells; return its names. A cell that raises does not stop the others."""
    hidden: Any = types.ModuleType("autograder")
    hidden.notebook_checks = lambda _: lambda _: 0.0
    sys.modules["autograder"] = hidden
    sys.meta_path.append(StandIns(packages))
    names: dict[str, Any] = {"__name__": "__main__", "display": lambda *_, **__: None}
    for name, source in cells:
        filename = CELL.format(name)
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
        try:
            exec(compile_cell(source, filename), names)
        except BaseException as error:
            print(f"The cell {name} raised {type(error).__name__}: {error}")
    return names


def seed(number: int) -> None:
    """Seed the random number generators as the grader's worker does before each request."""
    torch.manual_seed(number)
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number)


def array(text: str, dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Return a tensor from its bytes: compressed with zlib, as base64 text."""
    raw = bytearray(zlib.decompress(base64.b64decode(text)))
    return torch.frombuffer(raw, dtype=dtype).reshape(shape)


def bare(cls: Any) -> Any:
    """Return an instance whose own `__init__` was not called."""
    instance = cls.__new__(cls)
    nn.Module.__init__(instance)
    return instance


def leaf(value: torch.Tensor, leaves: list[torch.Tensor]) -> torch.Tensor:
    """Return a copy of a tensor that requires a gradient; add the original to `leaves`."""
    leaves.append(value.clone().requires_grad_())
    return leaves[-1].clone()


def gradients(result: Any, leaves: list[torch.Tensor], grads: list) -> list:
    """Backpropagate from the tensors in a result; return the gradients of its inputs."""
    pairs = [
        (tensor, grad)
        for tensor, grad in zip(tensors(result), grads, strict=True)
        if grad is not None and tensor.requires_grad
    ]
    for tensor in leaves:
        tensor.grad = None
    torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
    return [tensor.grad for tensor in leaves]


def tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, list | tuple | dict):
        return []
    return [tensor for item in inside for tensor in tensors(item)]


@contextlib.contextmanager
def expect_error() -> Iterator[None]:
    """Print the exception of a call that raised while it was graded."""
    try:
        yield
        print("    This call raised an exception when it was graded. It does not raise one here.")
    except Exception:
        traceback.print_exc(file=sys.stdout)


def show(name: str, value: Any) -> None:
    """Print what a call returned."""
    print(f"{name}: {described(value)}")


def described(value: Any) -> str:
    """Describe a value in one line: shape, mean and standard deviation, first values."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().double().flatten()
        first = ", ".join(f"{number:.6g}" for number in flat[:6].tolist())
        grad = ", requires a gradient" if value.requires_grad else ""
        text = f"tensor {tuple(value.shape)}{grad}: {first}{', …' if len(flat) > 6 else ''}"
        if len(flat) < 2:
            return text
        return f"{text} (mean {flat.mean():.6g}, standard deviation {flat.std():.6g})"
    if isinstance(value, list | tuple):
        return "[" + "; ".join(described(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + "; ".join(f"{k}: {described(v)}" for k, v in value.items()) + "}"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return f"an object of type {type(value).__name__}"


def compare(
    what: str, got: torch.Tensor, expected: torch.Tensor, graded: torch.Tensor, tolerance: float
) -> None:
    """Print the values of this run, the expected values, and the values when it was graded."""
    print(f"\n{what}")
    print(f"  got:      {described(got)}")
    print(f"  expected: {described(expected)}")
    if got.shape != expected.shape:
        print("  The shapes are different.")
        return
    difference = (got.detach().double() - expected.double()).abs()
    largest = float(difference.max()) if difference.numel() else 0.0
    allowed = tolerance * max(1.0, float(expected.abs().max()) if expected.numel() else 1.0)
    print(f"  largest difference: {largest:.6g} (allowed: {allowed:.6g})")
    if difference.dim() and difference.numel():
        place = torch.unravel_index(difference.argmax(), difference.shape)
        print(f"  at index {tuple(int(i) for i in place)}")
    apart = float((got.detach().double() - graded.double()).abs().max()) if got.numel() else 0.0
    print(f"  difference from the values when it was graded: {apart:.6g}")
