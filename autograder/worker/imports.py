"""Enforces an assignment's import rule when a submission's cells import a module.

The rule is for students; it is no defence. Code in the same process can circumvent it. The sandbox
is the defence.
"""

import builtins
import importlib
import sys
import types
from typing import Any, NoReturn


class ForbiddenImport(ImportError):  # noqa: N818 - students read this name
    """A submission used a module that the assignment does not allow."""


def guard(namespace: dict[str, Any], allowed: list[str] | None, forbidden: list[str]) -> None:
    """Apply an import rule to the cells that run in a namespace; libraries may import anything.

    A forbidden import returns a `ForbiddenModule`, which raises when it is used. Only the tasks
    that use it lose their points.

    Args:
        namespace: The namespace in which cells run.
        allowed: The packages that may be imported; None for all.
        forbidden: Modules that may not be imported or used as an attribute of their package.
    """
    for name in forbidden:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, ForbiddenModule(name))

    def checked(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> types.ModuleType:
        package = name.partition(".")[0]
        known = allowed is None or package in allowed
        if known and not any(f"{name}.".startswith(f"{one}.") for one in forbidden):
            return builtins.__import__(name, globals, locals, fromlist, level)
        if known and not fromlist:
            return sys.modules[package]  # `import a.b` binds the name a
        module = ForbiddenModule(name)
        for part in fromlist or ():
            setattr(module, part, ForbiddenModule(f"{name}.{part}"))
        return module

    namespace["__builtins__"] = vars(builtins) | {"__import__": checked}


class ForbiddenModule(types.ModuleType):
    """Replaces a forbidden module, or a name imported from it; raises when it is used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise ForbiddenImport.

        Raises:
            ForbiddenImport: Always.
        """
        raise ForbiddenImport(f"importing `{self.__name__}` is not allowed in this assignment")

    def _use(self, *_: Any, **__: Any) -> NoReturn:
        self.refuse()

    __call__ = __float__ = __iter__ = __neg__ = _use
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _use
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _use
