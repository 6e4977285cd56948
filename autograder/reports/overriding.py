"""Writes a person's decision about a task into an output folder, without grading."""

import difflib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from autograder.grading.batch import BatchError
from autograder.grading.judge import unjudged
from autograder.records.overrides import (
    LOG,
    Decision,
    OverrideError,
    active,
    append,
    by_log,
    expect_possible,
    read_log,
)
from autograder.records.results import Result, now
from autograder.records.text import printable
from autograder.reports.output_folder import OutputFolder


def decide(
    out: Path,
    student: str,
    task: str,
    points: float | None,
    *,
    reason: str,
    author: str,
    tell: bool = False,
) -> tuple[Result, Result]:
    """Add a decision to the log; write the result, the feedback, the scores and the class page.

    Args:
        out: The output folder.
        student: The student's name.
        task: The task's id.
        points: The points; None to take back what was decided before.
        reason: Why.
        author: Who decides.
        tell: Whether the feedback tells the reason to the student.

    Returns:
        The student's result before and after.

    Raises:
        OverrideError: If the student or the task does not exist, the points are not possible, or
            there is nothing to take back.
        BatchError: If the folder has no results, another grader writes to it, or it cannot be
            written.
    """
    if not (out / "results").is_dir():
        raise BatchError(f"{out} has no results. Expected an output folder of `vaelab grade`.")
    output = OutputFolder(out)
    with output.locked():
        stored = output.stored()
        before = _of(student, stored)
        expect_possible(before, task, points)
        decided = active(read_log(out))
        if points is None and task not in decided.get(student, {}):
            raise OverrideError(f"'{task}' of {printable(student)} has no override.")
        decision = Decision(now(), author, student, task, points, reason, tell)
        with output.writing():
            append(out, decision)
        output.adjust = by_log(out)
        for result in stored:
            output.keep(result)
        return before, _of(student, output.finish())


def expect_allowed(
    out: Path, decided: Mapping[str, Mapping[str, Decision]], assignment: str
) -> None:
    """Expect that the tasks of an assignment can still have the points that persons gave.

    Args:
        out: The output folder.
        decided: The decisions that count, by student and task.
        assignment: The assignment's name.

    Raises:
        OverrideError: If one cannot, for example because the course file has changed.
    """
    for student, decisions in decided.items():
        result = unjudged(assignment, student, "missing", "")
        for task, one in decisions.items():
            try:
                expect_possible(result, task, one.points)
            except OverrideError as error:
                raise OverrideError(
                    f"{out / LOG}: {error} Give other points, or take them back: vaelab override "
                    f"{out} {shlex.quote(printable(student))} {printable(task)} --remove"
                ) from error


def mark(out: Path, decision: Decision) -> None:
    """Add a decision to the log and write this student's result and feedback, nothing else.

    Call `refresh` when all is marked: it writes the scores and the class page.

    Raises:
        OverrideError: If the student or the task does not exist, or the points are not possible.
        BatchError: If another grader writes to the folder, or it cannot be written.
    """
    output = OutputFolder(out)
    with output.locked():
        result = output.of_student(decision.student)
        if result is None:
            raise OverrideError(f"There is no result of '{printable(decision.student, 100)}'.")
        expect_possible(result, decision.task, decision.points)
        with output.writing():
            append(out, decision)
        output.adjust = by_log(out)
        output.keep(result)


def refresh(out: Path) -> list[Result]:
    """Write the scores and the class page from the results in an output folder; return these.

    Raises:
        BatchError: If the folder has no results, another grader writes to it, or it cannot be
            written.
    """
    output = OutputFolder(out)
    with output.locked():
        output.results = output.stored()
        return output.finish()


def _of(student: str, results: Sequence[Result]) -> Result:
    found = {result.student: result for result in results}
    if student not in found:
        near = difflib.get_close_matches(student, found, 3) or sorted(found)[:5]
        raise OverrideError(
            f"There is no result of '{printable(student, 100)}'. Some that exist: "
            f"{printable(', '.join(near), 300)}."
        )
    return found[student]
