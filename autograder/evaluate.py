"""Runs one check, wherever it was called from, and turns whatever happens into an outcome."""

import re
import time
import zlib
from collections.abc import Callable

import torch

from autograder.checking import CheckFailed, Task
from autograder.checks import info
from autograder.host import Ended
from autograder.results import CheckOutcome
from autograder.submission import Raised, Submission

# What computing with something of the wrong form raises.
UNEXPECTED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
NOT_STARTED = "Not started yet: there is still a TODO to fill in here."


def evaluate(function: Callable[..., None], task: Task, submission: Submission) -> CheckOutcome:
    """Run a check against a submission.

    The check's own random inputs depend on its name alone: the same in every run and every order.
    """
    started = time.monotonic()
    note = info(function)
    outcome, message, mistake = "passed", "", None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(note.name.encode()))
        try:
            function(submission)
        except CheckFailed as verdict:
            outcome, message = "todo" if verdict.todo else "failed", verdict.message
            mistake = verdict.mistake
        except Raised as error:
            explained = explain(error, submission)
            outcome, message = "todo" if explained.todo else "failed", explained.message
        except Ended as end:
            outcome, message = "not_run", str(end)
        except UNEXPECTED as error:
            # What came back was of a form that the check could not even compute with.
            outcome, message = "failed", f"This gave something unexpected: {error}"[:400]
    if outcome != "passed":
        submission.failed.add(note.task)
    seconds = round(time.monotonic() - started, 3)
    return CheckOutcome(
        note.name, note.task, task.points, note.sentence, outcome, message, mistake, seconds
    )


def explain(error: Raised, submission: Submission) -> CheckFailed:
    """Turn what a submission raised into a verdict, in the student's terms."""
    missing = re.match(r"name '(\w+)' is not defined", error.text)
    if error.kind == "NameError" and missing and submission.cell_errors:
        cell, cause = next(iter(submission.cell_errors.items()))
        if _not_started(cause):
            return CheckFailed(NOT_STARTED, todo=True)
        return CheckFailed(
            f"`{missing[1]}` does not exist, because the cell `{cell}` raised {cause}"
        )
    if error.kind == "NameError" and missing and not error.code:
        return CheckFailed(
            f"`{missing[1]}` does not exist: is its cell still there, and was it run?"
        )
    if _not_started(error):
        return CheckFailed(NOT_STARTED, todo=True)
    return CheckFailed(f"Your code raised {error}.")


def _not_started(error: Raised) -> bool:
    return error.kind == "NotImplementedError" or "ellipsis" in error.text.lower()
