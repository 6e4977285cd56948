"""Runs one check, wherever it was called from, and turns whatever happens into an outcome."""

import re
import time
import zlib
from collections.abc import Callable

import torch

from autograder.checks.registry import info
from autograder.checks.vocabulary import NOT_STARTED, CheckFailed, Skipped, Task
from autograder.protocol.ended import Ended
from autograder.protocol.remote import MESSAGE_LIMIT, Raised, Submission
from autograder.records.results import SKIPPED, CheckOutcome
from autograder.records.text import printable


def evaluate(function: Callable[..., None], task: Task, submission: Submission) -> CheckOutcome:
    """Run a check against a submission.

    The check's own random inputs depend on its name and on the submission's bytes alone: the same
    in every run and every order, and not to be known while the submission is being written, so
    that there is nothing to look up. (In a live notebook they depend on the name alone.)
    """
    started = time.monotonic()
    note = info(function)
    outcome, message, mistake = "passed", "", None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(note.name.encode() + submission.salt))
        try:
            function(submission)
        except CheckFailed as verdict:
            outcome, message = "todo" if verdict.todo else "failed", verdict.message
            mistake = verdict.mistake
        except Raised as error:
            explained = explain(error, submission)
            outcome, message = "todo" if explained.todo else "failed", explained.message
            mistake = explained.mistake
        except Skipped:
            outcome, message = SKIPPED, "Grading without training was requested."
        except Ended as end:
            outcome, message = "not_run", str(end)
        except Exception as error:
            # What came back was of a form that the check could not even compute with.
            outcome = "failed"
            message = printable(f"This gave something unexpected: {error}", MESSAGE_LIMIT)
    if outcome not in ("passed", SKIPPED):
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
            f"`{missing[1]}` does not exist, because the cell `{cell}` raised {cause}",
            _rule_broken(cause),
        )
    if error.kind == "NameError" and missing and not error.code:
        return CheckFailed(
            f"`{missing[1]}` does not exist: is its cell still there, and was it run?"
        )
    if _not_started(error):
        return CheckFailed(NOT_STARTED, todo=True)
    return CheckFailed(f"Your code raised {error}.", _rule_broken(error))


def _rule_broken(error: Raised) -> str | None:
    return "forbidden_import" if error.kind == "ForbiddenImport" else None


def _not_started(error: Raised) -> bool:
    return error.kind == "NotImplementedError" or "ellipsis" in error.text.lower()
