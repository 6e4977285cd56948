"""Record one check while it runs: its requests, their answers, and the judge's own arithmetic.

A request and its answer are recorded as frames. The judge's operations on tensors are recorded with
a `TorchDispatchMode`. So a script can compute the compared values from the answers again.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autograder.checks.vocabulary import CheckFailed
from autograder.protocol.frames import Frame
from autograder.protocol.remote import Ask

# Arrays above these sizes belong to training. They are not recorded.
MAX_RECORDED_BYTES = 64 << 20
MAX_OPERATIONS = 20_000


@dataclass(frozen=True)
class Exchange:
    """One request of a check and its answer.

    Attributes:
        request: The frame that was sent.
        answer: The frame that came back; None if the worker ended.
    """

    request: Frame
    answer: Frame | None

    @property
    def error(self) -> dict[str, Any] | None:
        """The worker's description of the exception that the submission raised, or None."""
        body = self.answer.body if self.answer else None
        return body.get("error") if isinstance(body, dict) else None


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation on tensors in the judge: `result = function(*args, **kwargs)`.

    Attributes:
        after: The number of requests before it.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    after: int


@dataclass(eq=False)
class Recording:
    """Everything that happened in one check.

    Attributes:
        exchanges: The requests and answers, in order.
        operations: The judge's operations, in order; their tensors stay alive with them.
        numbers: The numbers that the check read from tensors, each with its tensor.
        verdict: The failed expectation, or None if the check passed or the code raised.
        complete: False if the check trained, so that its requests were too large to record.
    """

    exchanges: list[Exchange] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    numbers: list[tuple[torch.Tensor, float]] = field(default_factory=list)
    verdict: CheckFailed | None = None
    complete: bool = True


class Recorder:
    """Records one check.

    Attributes:
        recording: What was recorded so far.
    """

    def __init__(self) -> None:
        self.recording = Recording()
        self._size = 0
        self._active = False

    def around(self, ask: Ask) -> Ask:
        """Return a function that asks `ask`, and records while the watched check runs."""

        def recorded(request: Frame, seconds: float | None) -> Iterator[Frame]:
            answer = None
            number = self._start(request) if self._active else None
            try:
                for answer in ask(request, seconds):
                    yield answer
            finally:
                if number is not None:
                    self.recording.exchanges[number] = Exchange(request, answer)

        return recorded

    def watch(self, check: Callable[..., None]) -> Callable[..., None]:
        """Return the same check, which is recorded when it runs."""

        @functools.wraps(check)
        def watched(submission: Any) -> None:
            self._active = True
            try:
                with _Operations(self.recording):
                    check(submission)
            except CheckFailed as verdict:
                self.recording.verdict = verdict
                raise
            finally:
                self._active = False

        return watched

    def _start(self, request: Frame) -> int | None:
        self._size += sum(array.nbytes for array in request.arrays)
        if request.body["do"] == "epoch" or self._size > MAX_RECORDED_BYTES:
            self.recording.complete = False
        if not self.recording.complete:
            return None
        self.recording.exchanges.append(Exchange(request, None))
        return len(self.recording.exchanges) - 1


class _Operations(TorchDispatchMode):
    """Records each operation on tensors in this thread."""

    def __init__(self, recording: Recording):
        super().__init__()
        self.recording = recording

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        recording = self.recording
        if len(recording.operations) >= MAX_OPERATIONS:
            recording.complete = False
        if not recording.complete:
            recording.operations.clear()
        elif isinstance(result, float):
            recording.numbers.append((args[0], result))
        else:
            after = len(recording.exchanges)
            recording.operations.append(Operation(func, args, kwargs or {}, result, after))
        return result


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples and dictionaries."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Return whether two arrays have the same dtype, shape and bytes."""
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and left.tobytes() == right.tobytes()
