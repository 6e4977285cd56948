"""An assignment's rule on imports: stated as data beside its checks, enforced where imports happen.

It is a rule for students, not a wall: code that sets out to get around it, inside its own process,
can. The walls are the sandbox's.
"""

import builtins
import importlib
import sys
import types
from typing import Any, NoReturn


class ForbiddenImport(ImportError):  # noqa: N818 - students read this name
    """An import that the assignment does not allow."""


def guard(namespace: dict[str, Any], allowed: list[str] | None, forbidden: list[str]) -> None:
    """Make imports in a namespace keep to a rule; what libraries import is none of its business.

    A forbidden import gives a stand-in that raises when it is used, so that it costs the tasks
    that use it and no others.

    Args:
        namespace: Where cells run.
        allowed: The packages that may be imported; None for any.
        forbidden: Modules that may be neither imported nor reached.
    """
    for name in forbidden:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, Withheld(name))

    def checked(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> types.ModuleType:
        package = name.partition(".")[0]
        known = allowed is None or package in allowed
        if known and not any(f"{name}.".startswith(f"{one}.") for one in forbidden):
            return builtins.__import__(name, globals, locals, fromlist, level)
        if known and not fromlist:
            return sys.modules[package]  # `import a.b` is a name for a
        module = Withheld(name)
        for part in fromlist or ():
            setattr(module, part, Withheld(f"{name}.{part}"))
        return module

    namespace["__builtins__"] = vars(builtins) | {"__import__": checked}


class Withheld(types.ModuleType):
    """Stands where a forbidden import, or something of it, would be."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse()

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise, whatever was wanted."""
        raise ForbiddenImport(f"importing `{self.__name__}` is not allowed in this assignment")

    __call__ = __float__ = __iter__ = __neg__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = refuse
