"""Fuzz the checks: let each function and method of a reference return odd values.

Whatever a submission returns, a check passes or fails. An exception inside a check is an error of
the grader. `python -m autograder.quality.fuzz [ASSIGNMENT ...]` prints each one that it finds.
"""

import contextlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autograder.checks.evaluate import evaluate
from autograder.checks.registry import CheckSet, load_checks
from autograder.checks.vocabulary import info
from autograder.course.reference import run_reference
from autograder.course.sources import assignments
from autograder.protocol.remote import Submission, direct
from autograder.records.results import GRADER_ERROR
from autograder.worker.worker import Worker

Change = Callable[[Any], Any]


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) and value else value


def _each(change: Callable[[torch.Tensor], Any]) -> Change:
    """Return a change of every tensor in a result; other results become NaN."""

    def changed(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return change(value)
        if isinstance(value, tuple | list):
            return tuple(changed(item) for item in value)
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        return float("nan")

    return changed


# What replaces a result: first fixed values, then values that resemble the right one.
CHANGES: dict[str, Change] = {
    "none": lambda right: None,
    "true": lambda right: True,
    "integer": lambda right: 3,
    "large integer": lambda right: 2**80,
    "float": lambda right: 2.5,
    "nan": lambda right: float("nan"),
    "infinity": lambda right: float("inf"),
    "text": lambda right: "text",
    "object": lambda right: object(),
    "ellipsis": lambda right: ...,
    "function": lambda right: lambda *_: right,
    "class": lambda right: nn.ReLU,
    "empty list": lambda right: [],
    "empty dict": lambda right: {},
    "dict": lambda right: {"bce": "x", "mse": None, "kl": [1]},
    "list of texts": lambda right: ["a", "b"],
    "texts": lambda right: ("a", "b", "c"),
    "nested": lambda right: [[1.0, [2.0]], {"a": (right,)}],
    "number of no axes": lambda right: torch.tensor(1.5),
    "empty tensor": lambda right: torch.zeros(0),
    "no columns": lambda right: torch.zeros(3, 0),
    "vector": lambda right: torch.ones(2),
    "complex": lambda right: torch.zeros(2, 3, dtype=torch.complex64),
    "sparse": lambda right: torch.eye(3).to_sparse(),
    "meta": lambda right: torch.zeros(2, 3, device="meta"),
    "first value": _first,
    "twice": lambda right: (right, right),
    "three": lambda right: (_first(right),) * 3,
    "four": lambda right: (_first(right),) * 4,
    "list": lambda right: list(right) if isinstance(right, tuple) else [right],
    "as dict": lambda right: {"value": right},
    "parts none": _each(lambda x: None),
    "parts texts": _each(lambda x: "text"),
    "parts lists": _each(lambda x: x.tolist()),
    "parts numpy": _each(lambda x: x.detach().numpy()),
    "parts nan": _each(lambda x: torch.full_like(x.float(), float("nan"))),
    "parts infinite": _each(lambda x: torch.full_like(x.float(), float("inf"))),
    "parts huge": _each(lambda x: x.double() * 1e300),
    "parts zero": _each(torch.zeros_like),
    "parts equal": _each(torch.ones_like),
    "parts bool": _each(lambda x: x > 0),
    "parts uint8": _each(lambda x: x.clamp(0, 200).to(torch.uint8)),
    "parts int": _each(lambda x: x.long()),
    "parts half": _each(lambda x: x.half()),
    "parts double": _each(lambda x: x.double()),
    "parts complex": _each(lambda x: x.to(torch.complex64)),
    "parts detached": _each(torch.Tensor.detach),
    "parts without rows": _each(lambda x: x[:0] if x.dim() else x[None][:0]),
    "parts one row": _each(lambda x: x[:1] if x.dim() else x[None]),
    "parts more rows": _each(lambda x: torch.cat([x, x]) if x.dim() else x.expand(2)),
    "parts longer": _each(lambda x: x.unsqueeze(-1)),
    "parts wrapped": _each(lambda x: x[None]),
    "parts flat": _each(torch.Tensor.flatten),
    "parts transposed": _each(lambda x: x.transpose(0, -1) if x.dim() > 1 else x),
    "parts narrow": _each(lambda x: x[..., :-1] if x.dim() else x),
    "parts wide": _each(lambda x: torch.cat([x, x], -1) if x.dim() else x),
    "parts summed": _each(torch.sum),
    "parts mean of columns": _each(lambda x: x.double().mean(-1) if x.dim() else x),
}


@dataclass(frozen=True)
class Target:
    """A function or a method of a reference.

    Attributes:
        owner: The class, or the namespace.
        name: Its name.
        label: Its name for reports, such as `VAE.decoder`.
        layer: The submodule whose results are changed; "" for the function's own results. The
            function is then `__init__`, which makes the submodule.
    """

    owner: Any
    name: str
    label: str
    layer: str = ""

    def get(self) -> Any:
        """Return the function."""
        names = self.owner if isinstance(self.owner, dict) else vars(self.owner)
        return names[self.name]

    def set(self, value: Any) -> None:
        """Replace the function."""
        if isinstance(self.owner, dict):
            self.owner[self.name] = value
        else:
            setattr(self.owner, self.name, value)


class _Changed(nn.Module):
    """A module with changed results."""

    def __init__(self, module: nn.Module, change: Change, called: list[int]):
        super().__init__()
        self.module, self.change, self.called = module, change, called

    def forward(self, *args: Any) -> Any:
        """Call the module and change its result."""
        self.called.append(1)
        return self.change(self.module(*args))


@dataclass(frozen=True)
class Found:
    """An error of the grader: the changed function, the change, the check and its message."""

    label: str
    change: str
    check: str
    message: str

    def __str__(self) -> str:
        return f"{self.label} → {self.change}: {self.check}: {self.message}"


def targets(names: dict[str, Any]) -> list[Target]:
    """Return the functions, methods and parts that the cells of a reference define."""
    home = names["__name__"]
    found = []
    for value in list(names.values()):
        if isinstance(value, nn.Module) and type(value).__module__ == home:
            kind = type(value)
            found += [
                Target(kind, "__init__", f"{kind.__name__}.{layer}", layer)
                for layer, _ in value.named_children()
            ]
    for name, value in list(names.items()):
        if name.startswith("_") or getattr(value, "__module__", None) not in (home, None):
            continue
        if isinstance(value, types.FunctionType):
            found.append(Target(names, name, name))
        elif inspect.isclass(value):
            for method, function in list(vars(value).items()):
                if isinstance(function, types.FunctionType) and not method.startswith("_"):
                    found.append(Target(value, method, f"{name}.{method}"))
    return found


@contextlib.contextmanager
def changed(target: Target, change: Change, called: list[int]) -> Iterator[None]:
    """Let a function return changed results inside the context; count its calls."""
    function = target.get()

    def replaced(*args: Any, **named: Any) -> Any:
        result = function(*args, **named)
        if target.layer:
            model = args[0]
            setattr(model, target.layer, _Changed(getattr(model, target.layer), change, called))
            return result
        called.append(1)
        return change(result)

    replaced.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    target.set(replaced)
    try:
        yield
    finally:
        target.set(function)


def _run(checks: CheckSet, function: Callable[..., None], names: dict[str, Any]) -> Any:
    submission = Submission(direct(Worker(names)), checks.assignment, train=False)
    return evaluate(function, checks.task(info(function).task), submission)


def fuzz(
    assignment: str, changes: Sequence[str] = tuple(CHANGES), functions: Sequence[str] = ()
) -> Iterator[Found | None]:
    """Run the checks that call a function, for each function and each change of its results.

    Args:
        assignment: The assignment's name.
        changes: Keys of `CHANGES`.
        functions: Labels of the functions to change; () for all.

    Yields:
        An error of the grader, or None for a check that passed or failed.
    """
    checks, names = load_checks(assignment), run_reference(assignment)
    for target in [t for t in targets(names) if not functions or t.label in functions]:
        users = []
        for function in checks.functions:
            called: list[int] = []
            with changed(target, lambda right: right, called):
                _run(checks, function, names)
            if called:
                users.append(function)
        for key in changes:
            for function in users:
                with changed(target, CHANGES[key], []):
                    got = _run(checks, function, names)
                error = got.outcome == GRADER_ERROR
                yield Found(target.label, key, got.check, got.message) if error else None


def main(arguments: Sequence[str]) -> int:
    """Fuzz assignments, all by default; return 1 if the grader had an error."""
    total, errors = 0, 0
    for assignment in arguments or assignments():
        for found in fuzz(assignment):
            total += 1
            if found:
                errors += 1
                print(f"{assignment}: {found}", flush=True)
    print(f"{total} checks of odd results, {errors} errors of the grader")
    return int(errors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
