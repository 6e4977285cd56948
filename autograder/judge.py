"""The trusted side: one submission in, one Result out."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autograder.checks import info, load_checks
from autograder.course import load_source
from autograder.evaluate import evaluate
from autograder.host import BEST, Ended, Limits, Sandbox, WorkerProcess
from autograder.notebook import Opened, UnreadableError, open_notebook
from autograder.results import CheckOutcome, Result, TaskScore
from autograder.submission import Raised, Submission


@dataclass(eq=False)
class Judging:
    """One submission while it is judged.

    Attributes:
        assignment: What it is a submission to.
        submission: What the checks talk to.
        worker: The process that it lives in.
        outcomes: The checks that have been run.
    """

    assignment: str
    submission: Submission
    worker: WorkerProcess
    outcomes: list[CheckOutcome] = field(default_factory=list)

    def evaluate(self, function: Callable[..., None]) -> CheckOutcome:
        """Run one check and keep its outcome."""
        task = load_checks(self.assignment).task(info(function).task)
        self.outcomes.append(evaluate(function, task, self.submission))
        return self.outcomes[-1]


@contextlib.contextmanager
def judging(
    path: Path, assignment: str, limits: Limits | None = None, sandbox: Sandbox = BEST
) -> Iterator[Judging]:
    """Open a submission in a worker of its own, its cells run and ready to be checked.

    Raises:
        UnreadableError: If the file is no notebook.
        Ended: If the worker did not survive its own start or the submission's cells.
    """
    opened = open_notebook(path, assignment)
    with WorkerProcess(limits or Limits(), sandbox) as worker:
        yield Judging(assignment, _load(opened, worker, assignment), worker)


def grade(
    path: Path,
    assignment: str,
    student: str,
    limits: Limits | None = None,
    sandbox: Sandbox = BEST,
) -> Result:
    """Judge one submission; whatever it does, there is a Result.

    Args:
        path: The notebook.
        assignment: What it is a submission to.
        student: Whose it is.
        limits: What it may use.
        sandbox: How it is confined.

    Raises:
        SandboxError: If no sandbox holds here and none was named.
    """
    sandbox = sandbox.resolved()
    started = time.monotonic()

    def result(
        status: str, message: str, outcomes: list[CheckOutcome], notes: tuple[str, ...], facts: dict
    ) -> Result:
        answers = opened.answers if opened else {}
        seconds = round(time.monotonic() - started, 2)
        tasks, checks = _scores(assignment, outcomes, message, answers)
        tier = sandbox.tier
        return Result(
            assignment, student, status, message, tasks, checks, notes, facts, seconds, tier
        )

    opened: Opened | None = None
    try:
        opened = open_notebook(path, assignment)
    except FileNotFoundError:
        return result("missing", f"There is no file {path.name}.", [], (), {})
    except (UnreadableError, OSError) as error:
        return result("unreadable", str(error), [], (), {})

    current: Judging | None = None
    status, message = "graded", ""
    with contextlib.ExitStack() as stack:
        try:
            worker = stack.enter_context(WorkerProcess(limits or Limits(), sandbox))
            current = Judging(assignment, _load(opened, worker, assignment), worker)
            run_checks(current)
            if worker.ended:
                raise worker.ended
        except Ended as end:
            status, message = end.status, str(end)
    outcomes = current.outcomes if current else []
    notes = opened.notes + (_load_notes(current.submission) if current else ())
    facts = current.submission.facts if current else {}
    return result(status, message, outcomes, notes, facts)


def _load(opened: Opened, worker: WorkerProcess, assignment: str) -> Submission:
    submission = Submission(worker.ask, assignment)
    for cell in opened.cells:
        try:
            submission.run(cell.source, cell.name, cell.seconds)
        except Raised as error:
            submission.cell_errors[cell.name] = error
    return submission


def _load_notes(submission: Submission) -> tuple[str, ...]:
    return tuple(
        f"The cell `{name}` raised {error}." for name, error in submission.cell_errors.items()
    )


def run_checks(current: Judging) -> None:
    """Run the assignment's checks, in order.

    They are the functions that `pytest autograder/checks` runs too; pytest itself would cost more
    here than all that they do.
    """
    for function in load_checks(current.assignment).functions:
        current.evaluate(function)


def _scores(
    assignment: str, outcomes: list[CheckOutcome], message: str, answers: dict[str, str | None]
) -> tuple[tuple[TaskScore, ...], tuple[CheckOutcome, ...]]:
    """Add up tasks; a check that was never reached stands as not run."""
    checks = load_checks(assignment)
    done = {(outcome.task, outcome.check): outcome for outcome in outcomes}
    every = []
    for function in checks.functions:
        note = info(function)
        points = checks.task(note.task).points
        missed = CheckOutcome(
            note.name, note.task, points, note.sentence, "not_run", message, None, 0.0
        )
        every.append(done.get((note.task, note.name), missed))
    tasks = []
    for task in checks.tasks:
        passed = all(c.outcome == "passed" for c in every if c.task == task.id)
        tasks.append(TaskScore(task.id, task.title, task.points if passed else 0.0, task.points))
    for cell in load_source(assignment).of("answer"):
        tasks.append(
            TaskScore(cell.id, cell.id.replace("_", " ").capitalize(), 0.0, cell.points, True)
        )
    return tuple(tasks), tuple(every)


def not_graded(assignment: str, student: str, message: str) -> Result:
    """Record that the grader itself failed on a submission."""
    tasks, checks = _scores(assignment, [], message, {})
    return Result(assignment, student, "not_graded", message, tasks, checks, (), {}, 0.0)
