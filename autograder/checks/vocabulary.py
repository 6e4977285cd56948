"""The vocabulary that checks are written in: tasks, mistakes, and what to expect.

A check is a pytest function. It takes `submission` (and `reference`, where that helps), belongs
to a task, and either returns or raises `CheckFailed` with a sentence for the student. A task
earns its points when all of its checks pass.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from autograder.protocol.remote import Other

F = TypeVar("F", bound=Callable[..., None])
NOT_STARTED = "Not started yet: there is still a TODO to fill in here."


@dataclass(frozen=True)
class Task:
    """What earns points.

    Attributes:
        id: Its one name, in the notebook, the results and the reports.
        points: What it earns.
        title: A few words for the student.
        parts: The names in the submission that the reference's replace when the task has failed.
        uses: Parts that these call; when one of them has failed, these can't run as they are.
        names: Names that the given training step uses; the reference's replace them when the task
            has failed.
    """

    id: str
    points: float
    title: str
    parts: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A known mistake, recognised by what it computes.

    Attributes:
        name: Its one name, in results and statistics.
        says: The sentence that helps, in the student's terms, without the answer.
        formula: Computes the mistaken value from the same inputs as the right formula.
    """

    name: str
    says: str
    formula: Callable[..., torch.Tensor]


@dataclass(frozen=True)
class ImportRule:
    """What a submission's cells may import.

    Attributes:
        further: True if they may import more packages than the given cells do.
        forbidden: Modules that may not even be reached as attributes, such as
            "torch.distributions".
    """

    further: bool = True
    forbidden: tuple[str, ...] = ()


class CheckFailed(AssertionError):  # noqa: N818 - a verdict on the work
    """A check did not hold.

    Attributes:
        message: What is wrong, for the student.
        mistake: The name of the recognised mistake, or None.
        todo: True when the work has not been started.
    """

    def __init__(self, message: str, mistake: str | None = None, *, todo: bool = False):
        super().__init__(message)
        self.message = message
        self.mistake = mistake
        self.todo = todo


class Skipped(Exception):  # noqa: N818 - not an error
    """A check that trains, where grading without training was asked for."""


def check(task: str, *, in_notebook: bool = True) -> Callable[[F], F]:
    """Mark a pytest function as a check of `task`.

    Args:
        task: The task's id.
        in_notebook: False for a check that takes more than a moment or must stay unseen: it runs
            when the submission is graded, and not in the student's notebook.
    """

    def mark(function: F) -> F:
        if not inspect.getdoc(function):
            raise TypeError(f"{function.__name__} needs a one-line docstring: students read it")
        function.check = CheckInfo(  # type: ignore[attr-defined]
            name=function.__name__.removeprefix("test_"),
            task=task,
            sentence=(inspect.getdoc(function) or "").splitlines()[0],
            in_notebook=in_notebook,
        )
        return function

    return mark


@dataclass(frozen=True)
class CheckInfo:
    """What `check` notes on a function: its name, task and sentence."""

    name: str
    task: str
    sentence: str
    in_notebook: bool


def fail(message: str, mistake: str | None = None) -> None:
    """Fail the running check.

    Raises:
        CheckFailed: Always.
    """
    raise CheckFailed(message, mistake)


def expect(holds: bool, message: str, mistake: str | None = None) -> None:
    """Fail the running check with `message` unless `holds`."""
    if not holds:
        raise CheckFailed(message, mistake)


def expect_tensor(got: Any, shape: Sequence[int], what: str) -> torch.Tensor:
    """Expect a dense, finite, real-valued tensor of exactly this shape.

    Args:
        got: What came back.
        shape: The shape due; `()` for a scalar.
        what: Its name in the message, such as "`mu`".

    Returns:
        The tensor, as float64 and with its graph.

    Raises:
        CheckFailed: If it is anything else.
    """
    if isinstance(got, Other) and got.kind == "ellipsis":
        raise CheckFailed(NOT_STARTED, todo=True)
    if not isinstance(got, torch.Tensor):
        raise CheckFailed(f"{what} should be a tensor of shape {_shape(shape)}, got {kind(got)}.")
    if tuple(got.shape) != tuple(shape):
        raise CheckFailed(f"{what} should have shape {_shape(shape)}, got {_shape(got.shape)}.")
    if got.numel() == 0:
        return got.double()
    if not torch.isfinite(got).all():
        bad = int((~torch.isfinite(got)).sum())
        raise CheckFailed(f"{what} has {bad} value{'s' * (bad > 1)} that are not finite.")
    return got.double()


def expect_close(
    got: torch.Tensor,
    right: torch.Tensor,
    what: str,
    inputs: Sequence[Any] = (),
    mistakes: Sequence[Mistake] = (),
    *,
    tolerance: float = 1e-4,
) -> None:
    """Expect the right values, or name the mistake whose values these are.

    Args:
        got: Computed values, any shape.
        right: The right ones, of the same shape.
        what: Their name in the message, such as "The KL term".
        inputs: Passed to each mistake's formula.
        mistakes: Known mistakes, the likeliest first.
        tolerance: Largest difference let pass, relative to the largest right value (at least 1).

    Raises:
        CheckFailed: With the mistake's sentence, or with expected beside got.
    """
    if _close(got, right, tolerance):
        return
    shown = f"xpected {_numbers(right)}, got {_numbers(got)}."
    for mistake in mistakes:
        wrong = mistake.formula(*inputs).double()
        if _close(got, wrong, tolerance):
            raise CheckFailed(f"{mistake.says} E{shown}", mistake.name)
    raise CheckFailed(f"{what} has the wrong value: e{shown}")


def expect_grad(
    output: torch.Tensor, inputs: dict[str, torch.Tensor], what: str, mistake: str | None = None
) -> tuple[torch.Tensor, ...]:
    """Expect that gradients flow from the sum of `output` to each input; return them.

    Args:
        output: Where gradients start, any shape.
        inputs: Where they must arrive, by name.
        what: The output's name in the message.
        mistake: The recognised mistake's name if they don't.

    Raises:
        CheckFailed: If no gradient reaches one of them.
    """
    grads: tuple[torch.Tensor | None, ...] = (None,) * len(inputs)
    if output.requires_grad:
        grads = torch.autograd.grad(output.sum(), list(inputs.values()), allow_unused=True)
    for name, grad in zip(inputs, grads, strict=True):
        if grad is None:
            raise CheckFailed(
                f"No gradient reaches `{name}` from {what}. Is something detached, or computed "
                "outside PyTorch?",
                mistake,
            )
    return tuple(grad for grad in grads if grad is not None)


def kind(value: Any) -> str:
    """Say in words what a value is."""
    if value is None:
        return "None (is there a `return`?)"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {_shape(value.shape)}"
    if isinstance(value, tuple):
        return f"{len(value)} values"
    if isinstance(value, Other):
        return value.kind
    return f"a {type(value).__name__}"


def _close(got: torch.Tensor, right: torch.Tensor, tolerance: float) -> bool:
    if got.shape != right.shape or not torch.isfinite(right).all():
        return False
    scale = max(1.0, float(right.abs().max()) if right.numel() else 1.0)
    return bool(((got.double() - right.double()).abs() <= tolerance * scale).all())


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def _numbers(values: torch.Tensor) -> str:
    flat = values.detach().double().flatten()
    shown = ", ".join(f"{v:.4g}" for v in flat[:3].tolist())
    return shown + (", …" if flat.numel() > 3 else "")
