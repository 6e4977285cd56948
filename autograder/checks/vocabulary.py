"""The vocabulary of checks: tasks, known mistakes, and what a check expects.

A check is a pytest function. It takes `submission` (and `reference`, where it needs one) and
belongs to a task. It returns, or it raises `CheckFailed` with a message for the student. A task
earns its points when all of its checks pass.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from autograder.protocol.remote import Other, Raised
from autograder.records.text import printable

F = TypeVar("F", bound=Callable[..., None])
NOT_STARTED = "Not started yet: there is still a TODO to fill in here."
# Largest accepted rounding error, relative to the largest right value (at least 1).
MOST_ROUNDING = 0.02


@dataclass(frozen=True)
class Task:
    """A task: what earns points.

    Attributes:
        id: The unique name in the notebook, the results and the reports.
        points: The points that the task earns.
        title: A short title for the student.
        parts: Names in the submission. If the task has failed, the reference's parts replace them.
        uses: Parts that these parts call. If one of them has failed, these parts cannot run
            unchanged.
        names: Names that the given training step uses. If the task has failed, the reference's
            replace them.
        no_seed: Whether its parts may not set a seed. False for all but one of several tasks with
            the same part: one of them reports it.
        classes: Classes of the notebook that are these parts. If they cannot be made, stubs
            take their places, so that the model of the other parts exists.
    """

    id: str
    points: float
    title: str
    parts: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    no_seed: bool = True
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mistake:
    """A known mistake. It is recognised by the values that it computes.

    Attributes:
        name: The unique name in results and statistics.
        says: The message for the student. It does not reveal the answer.
        formula: Computes the wrong value from the same inputs as the right formula.
    """

    name: str
    says: str
    formula: Callable[..., torch.Tensor]


@dataclass(frozen=True)
class ImportRule:
    """What the cells of a submission may import.

    Attributes:
        further: True if they may import more packages than the given cells do.
        forbidden: Modules that may not be used at all, not even as attributes, such as
            "torch.distributions".
    """

    further: bool = True
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The comparison of two tensors that failed.

    Attributes:
        what: The name of the values in the message.
        got: The computed values, any shape.
        expected: The right values, of the same shape.
        tolerance: Largest accepted difference, relative to the largest right value (at least 1).
    """

    what: str
    got: torch.Tensor
    expected: torch.Tensor
    tolerance: float


class CheckFailed(AssertionError):  # noqa: N818 - a verdict on the work
    """A check has failed.

    Attributes:
        message: What is wrong, for the student.
        mistake: The name of the known mistake, or None.
        todo: True if the work has not been started.
        comparison: The comparison that failed, or None. Only an instructor sees it.
    """

    def __init__(
        self,
        message: str,
        mistake: str | None = None,
        *,
        todo: bool = False,
        comparison: Comparison | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.mistake = mistake
        self.todo = todo
        self.comparison = comparison


class Skipped(Exception):  # noqa: N818 - not an error
    """A check that trains was skipped: grading without training was requested."""


def check(
    task: str, *, in_notebook: bool = True, live: str = "", says: str = ""
) -> Callable[[F], F]:
    """Mark a pytest function as a check of `task`.

    Args:
        task: The task's id.
        in_notebook: False for a check that is slow or must not be visible to students. It runs
            when the submission is graded, and not in the student's notebook.
        live: The sentence in the student's notebook, if the check does something else there.
        says: The check's sentence, where it contains a bound; default: its docstring's first line.
    """

    def mark(function: F) -> F:
        if not inspect.getdoc(function):
            raise TypeError(f"{function.__name__} needs a one-line docstring: students read it")
        function.check = CheckInfo(  # type: ignore[attr-defined]
            name=function.__name__.removeprefix("test_"),
            task=task,
            sentence=says or (inspect.getdoc(function) or "").splitlines()[0],
            in_notebook=in_notebook,
            live=live,
        )
        return function

    return mark


@dataclass(frozen=True)
class CheckInfo:
    """The name, task and sentence that `check` stores on a function."""

    name: str
    task: str
    sentence: str
    in_notebook: bool
    live: str = ""


def info(function: Callable[..., None]) -> CheckInfo:
    """Return what `@check` stored on a function."""
    return function.check  # type: ignore[attr-defined]


def fail(message: str, mistake: str | None = None) -> None:
    """Fail the running check.

    Raises:
        CheckFailed: Always.
    """
    raise CheckFailed(message, mistake)


def expect(condition: bool, message: str, mistake: str | None = None) -> None:
    """Fail the running check with `message` unless `condition` is true."""
    if not condition:
        raise CheckFailed(message, mistake)


def expect_tensor(got: Any, shape: Sequence[int], what: str) -> torch.Tensor:
    """Expect a dense, finite, real-valued tensor of exactly this shape.

    Args:
        got: What the submission returned.
        shape: The expected shape; `()` for a scalar.
        what: Its name in the message, such as "`mu`".

    Returns:
        The tensor as float64, with its graph.

    Raises:
        CheckFailed: If `got` is anything else.
        Raised: If `got` is the exception that was raised in its place; see `shared.in_parts`.
    """
    if isinstance(got, Raised):
        raise got
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
        raise CheckFailed(
            f"{what} has {bad} value{'s that are' if bad > 1 else ' that is'} not finite."
        )
    return got.double()


def expect_close(
    got: torch.Tensor,
    right: torch.Tensor,
    what: str,
    inputs: Sequence[Any] = (),
    mistakes: Sequence[Mistake] = (),
    *,
    tolerance: float = 1e-4,
    rounding: float = 0.0,
    otherwise: Callable[[], None] = lambda: None,
) -> None:
    """Expect the right values; if they are wrong, find the known mistake that computes them.

    Args:
        got: Computed values, any shape.
        right: The right values, of the same shape.
        what: Their name in the message, such as "The KL term".
        inputs: The arguments of each mistake's formula.
        mistakes: Known mistakes, the most likely first.
        tolerance: Largest accepted difference, relative to the largest right value (at least 1).
        rounding: What is added to this difference: the rounding error of a measured value.
        otherwise: Called if no known mistake computes these values. It may raise a `CheckFailed`
            that explains them in another way.

    Raises:
        CheckFailed: With the message of the known mistake, and the expected and computed values.
    """
    if close(got, right, tolerance, rounding):
        return
    compared = Comparison(what, got, right, tolerance)
    shown = f"xpected {difference(right, got)}."
    for mistake in mistakes:
        wrong = mistake.formula(*inputs).double()
        if close(got, wrong, tolerance):  # rounding could make another mistake look alike
            raise CheckFailed(f"{mistake.says} E{shown}", mistake.name, comparison=compared)
    try:
        otherwise()
    except CheckFailed as verdict:
        verdict.comparison = compared
        raise
    raise CheckFailed(f"{what} has the wrong value: e{shown}", comparison=compared)


def expect_grad(
    output: Any, inputs: dict[str, torch.Tensor], what: str, mistake: str | None = None
) -> tuple[torch.Tensor, ...]:
    """Expect that gradients flow from the sum of `output` to each input; return the gradients.

    Args:
        output: The tensor that gradients start from, any shape.
        inputs: The tensors that gradients must reach, by name.
        what: The output's name in the message.
        mistake: The name of the known mistake if no gradient reaches one of them.

    Raises:
        CheckFailed: If no gradient reaches one of them, or `output` is no tensor.
        Raised: If `output` is the exception that was raised in its place; see `shared.in_parts`.
    """
    if isinstance(output, Raised):
        raise output
    if not isinstance(output, torch.Tensor):
        if isinstance(output, Other) and output.kind == "ellipsis":
            raise CheckFailed(NOT_STARTED, todo=True)
        start = what[0].upper() + what[1:]
        raise CheckFailed(f"{start} should be a tensor, got {kind(output)}.")
    grads: tuple[torch.Tensor | None, ...] = (None,) * len(inputs)
    if output.requires_grad:
        grads = torch.autograd.grad(output.sum(), list(inputs.values()), allow_unused=True)
    for name, grad in zip(inputs, grads, strict=True):
        if grad is None:
            raise CheckFailed(
                f"No gradient reaches `{name}` from {what}. Is `{name}` used, and is nothing on "
                "the way detached or computed outside PyTorch?",
                mistake,
            )
    return tuple(grad for grad in grads if grad is not None)


def expect_whole_number(value: Any, name: str) -> int:
    """Expect that a setting of the notebook is a whole number.

    Args:
        value: Its value.
        name: Its name.

    Raises:
        CheckFailed: If it is anything else; as not started yet if it is a placeholder.
    """
    if type(value) is int:
        return value
    if value is None or (isinstance(value, Other) and value.kind == "ellipsis"):
        raise CheckFailed(f"`{name}` is not filled in yet.", todo=True)
    shown = printable(repr(value), 40) if isinstance(value, bool | float | str) else kind(value)
    raise CheckFailed(f"`{name}` should be a whole number, got {shown}.", "not_a_whole_number")


def kind(value: Any) -> str:
    """Describe in words what a value is."""
    if value is None:
        return "None (is there a `return`?)"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {_shape(value.shape)}"
    if isinstance(value, tuple):
        return f"{len(value)} values"
    if isinstance(value, Other):
        return value.kind
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def close(
    got: torch.Tensor, right: torch.Tensor, tolerance: float = 1e-4, rounding: float = 0.0
) -> bool:
    """Return whether two tensors of one shape are equal; see `expect_close` for the tolerances."""
    if got.shape != right.shape or not torch.isfinite(right).all():
        return False
    scale = max(1.0, float(right.abs().max()) if right.numel() else 1.0)
    # The rounding error is limited: a huge other term must not make every value right.
    most = tolerance * scale + min(rounding, MOST_ROUNDING * scale)
    return bool(((got.double() - right.double()).abs() <= most).all())


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def difference(right: torch.Tensor, got: torch.Tensor) -> str:
    """Return where two tensors differ: "2, got 3", without the word "expected".

    Up to three entries are shown in full. Of more entries, the one with the largest difference is
    shown, with its index.

    Args:
        right: The expected values, any shape.
        got: The values that were computed, of the same shape, or of another one.
    """
    right, got = right.detach().double(), got.detach().double()
    if right.shape != got.shape:
        return f"shape {_shape(right.shape)}, got {_shape(got.shape)}"
    if right.numel() <= 3:
        expected, found = apart(right.flatten().tolist(), got.flatten().tolist())
        return f"{', '.join(expected)}, got {', '.join(found)}"
    # An entry that is not finite has the largest difference.
    gap = (right - got).abs().nan_to_num(nan=math.inf).flatten()
    place = int(gap.argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), right.shape)]
    (left,), (other,) = apart([float(right.flatten()[place])], [float(got.flatten()[place])])
    return f"{left}, got {other} at index {index}, where the difference is largest"


def apart(right: Sequence[float], got: Sequence[float]) -> tuple[list[str], list[str]]:
    """Format numbers with as many digits as it takes to see that they differ, at least four."""
    # A rounding error is shown as 0, and 0 has no sign.
    finite = [abs(value) for value in (*right, *got) if math.isfinite(value)]
    least = 1e-12 * max(finite, default=0.0)
    right, got = (
        [value if not abs(value) <= least else 0.0 for value in values] for values in (right, got)
    )
    for digits in range(4, 18):
        shown = [[f"{value:.{digits}g}" for value in values] for values in (right, got)]
        if shown[0] != shown[1]:
            break
    return shown[0], shown[1]
