"""What a worker does not have: packages that are not installed, and a GPU."""

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any, NoReturn

import torch
from torch import nn

from autograder.worker.imports import ForbiddenModule

NO_GPU = "the grader has no GPU; ask torch.cuda.is_available() which device to use"


class MissingModule(ForbiddenModule):
    """Replaces a module that is not installed, or a name in it; raises when it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MissingModule(f"{self.__name__}.{name}")

    def refuse(self) -> NoReturn:
        """Raise ModuleNotFoundError.

        Raises:
            ModuleNotFoundError: Always.
        """
        package = self.__name__.partition(".")[0]
        raise ModuleNotFoundError(f"the package {package} is not installed in the grader")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of packages that are not installed."""

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return MissingModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


_finder = _Finder()


def leave_out(package: str) -> None:
    """Let a package be imported that is not installed; using it raises."""
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)  # last: installed packages are found before
    _finder.packages.add(package)


def use_no_gpu() -> None:
    """Let `.cuda()` return its object: there is no GPU here."""

    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    torch.Tensor.cuda = stay  # type: ignore[method-assign]
    nn.Module.cuda = stay  # type: ignore[method-assign]


def about_gpu(error: BaseException) -> str:
    """Return a message if an exception is about a missing GPU; "" otherwise."""
    told = str(error)
    names = ("CUDA", "NVIDIA", "mps device", "MPS")
    if isinstance(error, RuntimeError | AssertionError) and any(name in told for name in names):
        return NO_GPU
    return ""
