"""Run one check, in the grader or in a notebook, and convert every result to an outcome."""

import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from autograder.checks.seeds import seed_torch
from autograder.checks.shared.device import device_remarks
from autograder.checks.vocabulary import NOT_STARTED, CheckFailed, Skipped, Task, expect, info
from autograder.protocol.ended import Ended
from autograder.protocol.remote import MESSAGE_LIMIT, Raised, Submission
from autograder.records.results import GRADER_ERROR, NOT_RUN, SKIPPED, CheckOutcome
from autograder.records.text import printable, sentence

LONGEST_MESSAGE = 4000
WORD = re.compile(r"\w+")
SEEDED = (
    "A call of your code sets a seed for PyTorch's random numbers: every sample after it is the "
    "same again. Set a seed once, outside your classes."
)

BATCH_SIZE = (
    " The line uses the `batch_size` of your settings. A call may have another number of images, "
    "such as the last batch of an epoch. Use the number of images that the call gets."
)
NOT_YOURS = (
    "An error of the grader, not of your work: this check could not be completed. Its task is not "
    "graded, and no points are lost."
)


def evaluate(function: Callable[..., None], task: Task, submission: Submission) -> CheckOutcome:
    """Run a check on a submission.

    The random inputs of a check depend only on the check's name and on the submission's key. So
    they are the same in every run and in every order, and a student cannot know them while writing
    the submission; see `checks.seeds`. (In a live notebook they depend on the name alone.)

    Raises:
        MemoryError: If this process may not allocate the memory that a check needs.
    """
    started = time.monotonic()
    note = info(function)
    outcome, message, mistake = "passed", "", None
    remarks = len(submission.remarks)
    submission.start_check()
    with torch.random.fork_rng(devices=[]):
        seed_torch(submission.key, note.name)
        try:
            function(submission)
            # A seed that a part of a model sets makes the noise of every other part the same.
            # Later tasks call this part too: one task is charged.
            if submission.seeded and task.parts and task.no_seed:
                charged = submission.kept.setdefault("sets_a_seed", task.id)
                expect(charged != task.id, SEEDED, "reseeded")
            _remark_on_devices(submission, note.task)
            message = " ".join(submission.remarks[remarks:])
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
            outcome, message = NOT_RUN, str(end)
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError from error
            outcome, message = GRADER_ERROR, grader_error(error)
    if outcome not in ("passed", SKIPPED):
        submission.failed.add(note.task)
    message = printable(message, LONGEST_MESSAGE, keep="\n")  # it can contain text that was sent
    seconds = round(time.monotonic() - started, 3)
    says = (note.live if submission.in_notebook else "") or note.sentence
    return CheckOutcome(note.name, note.task, task.points, says, outcome, message, mistake, seconds)


def grader_error(error: Exception) -> str:
    """Describe an exception of a check itself, for the person who repairs the check.

    What a submission sends is validated before it is used, so such an exception is a bug here.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    return printable(
        f"{NOT_YOURS} Please report it: {type(error).__name__}: {error} ({where}).", MESSAGE_LIMIT
    )


def _remark_on_devices(submission: Submission, task: str) -> None:
    """Remark on the devices of new tensors; fail the check if the course counts them."""
    remarks = device_remarks(submission)
    if task in submission.failed:
        return  # a task that is not right yet has a more important message
    for remark in remarks:
        if submission.device_counts:
            raise CheckFailed(remark, "wrong_device")
        submission.remark(f"{remark} This costs no points.")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an exception means that this process got no more memory."""
    # PyTorch has no own type for it on the CPU.
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or told


def explain(error: Raised, submission: Submission) -> CheckFailed:
    """Convert an exception of the submission to a failed check, with a message for the student."""
    missing = re.match(r"name '(\w+)' is not defined", error.text)
    if error.kind == "NameError" and missing:
        cell = defining_cell(missing[1], submission)
        if cell:
            cause = submission.cell_errors[cell]
            if not_started(cause):
                return CheckFailed(NOT_STARTED, todo=True)
            return CheckFailed(
                sentence(
                    f"`{missing[1]}` does not exist, because the cell `{cell}` raised {cause}"
                ),
                _rule_broken(cause),
            )
        if not error.code:
            return CheckFailed(
                f"`{missing[1]}` does not exist. Is its cell still in the notebook, and did it run?"
            )
    if not_started(error):
        return CheckFailed(NOT_STARTED, todo=True)
    if _has_global_batch_size(error, submission):
        return CheckFailed(sentence(f"Your code raised {error}") + BATCH_SIZE, "fixed_batch_size")
    return CheckFailed(sentence(f"Your code raised {error}"), _rule_broken(error))


def _has_global_batch_size(error: Raised, submission: Submission) -> bool:
    """Return whether an exception is about a size that is the `batch_size` of the settings."""
    if error.kind != "RuntimeError" or "batch_size" not in WORD.findall(error.code or ""):
        return False
    source = submission.sources.get(error.cell or "", "")
    # A local variable or an argument of this name is the number of images.
    if any(_binds(line, "batch_size") for line in source.splitlines()):
        return False
    try:
        size = submission.value("batch_size")
    except Raised:
        return False
    return type(size) is int and re.search(rf"\b{size}\b", error.text) is not None


def defining_cell(name: str, submission: Submission) -> str | None:
    """Return the cell that would have defined a name, if it raised an exception."""
    for cell in submission.cell_errors:
        source = submission.sources.get(cell, "")
        if name in source and any(_defines(line, name) for line in source.splitlines()):
            return cell
    return None


def _binds(line: str, name: str) -> bool:
    """Return whether a line of code may give a name a value; the time is linear in its length."""
    words = WORD.findall(line) if name in line else []
    left, equals, _ = line.partition("=")
    starts = words[:1] in (["def"], ["for"], ["with"])
    return name in words and (starts or (bool(equals) and name in WORD.findall(left)))


def _defines(line: str, name: str) -> bool:
    """Return whether a line of code may define a global name; the time is linear in its length."""
    if name not in line:
        return False
    words = WORD.findall(line)
    if words[:1] in (["import"], ["from"]):
        return name in words
    if words[:1] in (["class"], ["def"]):
        return name in words[1:2]
    left, equals, _ = line.partition("=")
    # A global name is assigned to at the start of a line.
    return bool(equals) and not line[:1].isspace() and name in WORD.findall(left)


def _rule_broken(error: Raised) -> str | None:
    return "forbidden_import" if error.kind == "ForbiddenImport" else None


def not_started(error: Raised) -> bool:
    """Return whether a placeholder of the starter is still there: its `raise`, or its `...`.

    PyTorch raises NotImplementedError too, and `torch.einsum` has messages about an ellipsis.
    """
    if error.kind == "NotImplementedError":
        return error.text.startswith("TODO") and error.code is not None
    used = error.kind in ("TypeError", "AttributeError")
    return used and re.search(r"\bellipsis\b", error.text.lower()) is not None
