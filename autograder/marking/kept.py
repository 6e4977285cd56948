"""The marks of a desk, kept in the log of an output folder with all other decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autograder.grading.batch import find_submissions
from autograder.marking.answers import Answer, answers, questions
from autograder.marking.desk import Desk, Mark, shuffled
from autograder.records.errors import UserError
from autograder.records.overrides import Decision, active, read_log
from autograder.records.results import Result, now
from autograder.records.text import printable
from autograder.reports.output_folder import OutputFolder
from autograder.reports.overriding import mark


def desk_of(out: Path, submissions: Path, author: str) -> Desk:
    """Return the written answers of a graded class, ready for marking.

    Args:
        out: The output folder of `vaelab grade`.
        submissions: The folder of the submissions that were graded.
        author: Who marks.

    Raises:
        UserError: If there are no results or no submissions, or the assignment asks for no written
            answer.
    """
    output = OutputFolder(out)
    results = output.stored()
    assignment = results[0].assignment
    asked = questions(assignment)
    if not asked:
        raise UserError(f"{assignment} asks for no written answer.")
    most = {task.task: task.max_points for task in results[0].tasks}
    graded = {result.student for result in results}
    entries = [e for e in find_submissions(submissions, assignment) if e.student in graded]
    if missing := graded - {entry.student for entry in entries}:
        raise UserError(
            f"{submissions} has no folder of {printable(min(missing), 100)}, whose result is in "
            f"{out}. Name the folder of the submissions that were graded with --submissions."
        )
    found = answers(entries, assignment)
    expect_unchanged(out, results, found)
    secret = output.secret()
    students = sorted(graded)
    return Desk(
        assignment,
        # The course file can set other points.
        tuple(replace(one, points=most.get(one.task, one.points)) for one in asked),
        found,
        {one.task: shuffled(students, one.task, secret) for one in asked},
        lambda: _marks(out),
        lambda answer, points, comment: _keep(out, author, answer, points, comment),
    )


def expect_unchanged(
    out: Path, results: Sequence[Result], found: Mapping[tuple[str, str], Answer]
) -> None:
    """Expect that the answers are those that the results know.

    Raises:
        UserError: If submissions have changed since they were graded.
    """
    changed = sorted(
        {
            result.student
            for result in results
            for task in result.tasks
            if task.answer and task.answer != found[result.student, task.task].digest
        }
    )
    if changed:
        names = printable(", ".join(changed[:5]), 200)
        raise UserError(
            f"Submissions have changed since they were graded ({len(changed)}: {names}). Grade the "
            f"class again, with --out {out}, before you mark."
        )


def _marks(out: Path) -> Mapping[tuple[str, str], Mark]:
    return {
        (student, task): Mark(one.points or 0.0, one.reason, one.author, one.date, one.answer)
        for student, tasks in active(read_log(out)).items()
        for task, one in tasks.items()
    }


def _keep(out: Path, author: str, answer: Answer, points: float, comment: str) -> None:
    task, told = answer.task, bool(comment.strip())
    mark(
        out,
        Decision(now(), author, answer.student, task, points, comment.strip(), told, answer.digest),
    )
