"""Copy the source text of functions and of everything of the grader that they use."""

import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Iterable
from typing import Any

from autograder.worker.worker import Worker

OWN = "autograder."


class Closure:
    """Collects source text, so that a script needs no import of the grader.

    Attributes:
        imports: Import statements.
        constants: Assignments of constants.
        definitions: Functions and classes, each after those that it uses.
    """

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.constants: dict[str, str] = {}
        self.definitions: list[str] = []
        self._seen: set[str] = set()

    def add(self, definition: Any) -> None:
        """Add a function or a class of the grader."""
        if definition.__qualname__ not in self._seen:
            self._seen.add(definition.__qualname__)
            text = textwrap.dedent(inspect.getsource(definition))
            self._add_used(ast.parse(text), definition.__module__)
            self.definitions.append(text)

    def add_worker(self, requests: Iterable[str]) -> None:
        """Add a class `Worker` that answers only these requests, with a dictionary `objects`."""
        methods: dict[str, str] = {}
        waiting = [f"do_{request}" for request in sorted(requests)]
        while waiting:
            name = waiting.pop()
            function = vars(Worker).get(name)
            if name in methods or not isinstance(function, types.FunctionType):
                continue
            methods[name] = inspect.getsource(function)
            tree = ast.parse(textwrap.dedent(methods[name]))
            self._add_used(tree, Worker.__module__)
            waiting += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        start = "class Worker:\n    def __init__(self):\n        self.objects = {}\n\n"
        self.definitions.append(start + "\n".join(methods.values()))

    def text(self) -> str:
        """Return everything as Python source."""
        imports = "\n".join(sorted(self.imports))
        constants = "\n".join(f"{name} = {value}" for name, value in self.constants.items())
        return "\n\n".join([imports, constants, *self.definitions])

    def _add_used(self, tree: ast.AST, module: str) -> None:
        known = vars(sys.modules[module])
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in known:
                self._add_one(node.id, known[node.id])

    def _add_one(self, name: str, value: Any) -> None:
        home = getattr(value, "__module__", None)
        if isinstance(value, types.ModuleType):
            self.imports.add(f"import {value.__name__} as {name}")
        elif isinstance(value, bool | int | float | str | tuple):
            self.constants[name] = repr(value)
        elif isinstance(value, type | types.FunctionType) and str(home).startswith(OWN):
            self.add(value)
        elif home and hasattr(sys.modules.get(home), name):
            self.imports.add(f"from {home} import {name}")
