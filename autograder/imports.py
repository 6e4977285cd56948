"""An assignment's rule on imports: stated as data beside its checks, enforced where imports happen.

It is a rule for students, not a wall: code that sets out to get around it, inside its own process,
can. The walls are the sandbox's.
"""

import ast
import builtins
import importlib
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class ForbiddenImport(ImportError):  # noqa: N818 - students read this name
    """An import that the assignment does not allow."""


@dataclass(frozen=True)
class ImportRule:
    """What a submission's cells may import.

    Attributes:
        further: True if they may import more than the given cells do.
        forbidden: Modules that may not even be reached as attributes, such as
            "torch.distributions".
    """

    further: bool = True
    forbidden: tuple[str, ...] = ()


def imported(sources: Iterable[str]) -> list[str]:
    """List what given cells import, as dotted names; `from a import b` counts as a and a.b."""
    names: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return sorted(names)


def guard(namespace: dict[str, Any], allowed: list[str] | None, forbidden: list[str]) -> None:
    """Make imports in a namespace keep to a rule; what libraries import is none of its business.

    Args:
        namespace: Where cells run.
        allowed: All that may be imported, with its parents; None for anything.
        forbidden: What may be neither imported nor reached.
    """
    for name in forbidden:
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, Withheld(name))
    known = None if allowed is None else {p for name in allowed for p in _with_parents(name)}

    def checked(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> types.ModuleType:
        parts = [f"{name}.{part}" for part in fromlist or ()]
        for asked in (name, *parts):
            if any(asked == one or asked.startswith(one + ".") for one in forbidden):
                raise ForbiddenImport(f"`{asked}` is not allowed in this assignment")
        if known is not None:
            # A name from an allowed module is fine, unless that name is a further module.
            for asked in (name, *(part for part in parts if part in sys.modules)):
                if asked not in known:
                    raise ForbiddenImport(
                        f"`{asked}` would be a further import, and this assignment allows none"
                    )
        return builtins.__import__(name, globals, locals, fromlist, level)

    namespace["__builtins__"] = vars(builtins) | {"__import__": checked}


class Withheld(types.ModuleType):
    """Stands where a forbidden module would be."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ForbiddenImport(f"`{self.__name__}` is not allowed in this assignment")


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]
