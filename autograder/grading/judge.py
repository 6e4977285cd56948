"""The trusted side: one submission in, one Result out."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autograder.checks.evaluate import evaluate
from autograder.checks.registry import info, load_checks
from autograder.course.sources import imported, load_source
from autograder.grading.notebook import (
    Opened,
    UnreadableError,
    open_notebook,
    parse_notebook,
    read_bytes,
)
from autograder.protocol.ended import Ended
from autograder.protocol.remote import Raised, Submission
from autograder.records.results import CheckOutcome, Result, TaskScore
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST, Sandbox


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
        yield Judging(assignment, _load(opened, worker, assignment, b""), worker)


def grade(
    path: Path,
    assignment: str,
    student: str,
    limits: Limits | None = None,
    sandbox: Sandbox = BEST,
    train: bool = True,
) -> Result:
    """Judge one submission; whatever it does, there is a Result.

    Args:
        path: The notebook.
        assignment: What it is a submission to.
        student: Whose it is.
        limits: What it may use.
        sandbox: How it is confined.
        train: False to leave out the checks that train; their tasks then earn nothing.

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
        every = (assignment, student, status, message, tasks, checks, notes, facts, seconds)
        return Result(*every, sandbox.tier, digest)

    opened: Opened | None = None
    digest = ""
    try:
        raw = read_bytes(path)
        digest = hashlib.sha256(raw).hexdigest()
        opened = parse_notebook(raw, assignment)
    except FileNotFoundError:
        return result("missing", f"There is no file {path.name}.", [], (), {})
    except (UnreadableError, OSError) as error:
        return result("unreadable", str(error), [], (), {})

    current: Judging | None = None
    status, message = "graded", ""
    with contextlib.ExitStack() as stack:
        try:
            worker = stack.enter_context(WorkerProcess(limits or Limits(), sandbox))
            submission = _load(opened, worker, assignment, digest.encode(), train)
            current = Judging(assignment, submission, worker)
            run_checks(current)
            if worker.ended:
                raise worker.ended
        except Ended as end:
            status, message = end.status, str(end)
    outcomes = current.outcomes if current else []
    notes = opened.notes + (_notes(current.submission) if current else ())
    facts = current.submission.facts if current else {}
    return result(status, message, outcomes, notes, facts)


def _load(
    opened: Opened, worker: WorkerProcess, assignment: str, salt: bytes, train: bool = True
) -> Submission:
    submission = Submission(worker.ask, assignment, salt=salt, train=train)
    rule = load_checks(assignment).imports
    if not rule.further or rule.forbidden:
        given = imported(cell.source for cell in load_source(assignment).of("setup"))
        submission.restrict(None if rule.further else given, rule.forbidden)
    for cell in opened.cells:
        try:
            submission.run(cell.source, cell.name, cell.seconds)
        except Raised as error:
            submission.cell_errors[cell.name] = error
    return submission


def _notes(submission: Submission) -> tuple[str, ...]:
    raised = submission.cell_errors.items()
    return (*(f"The cell `{name}` raised {error}." for name, error in raised), *submission.remarks)


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


def unjudged(assignment: str, student: str, status: str, message: str) -> Result:
    """Make the Result of a submission that no worker has seen.

    Args:
        assignment: What it is a submission to.
        student: Whose it is.
        status: "not_graded" where the grader itself failed, or another of `STATUSES`.
        message: Why.
    """
    tasks, checks = _scores(assignment, [], message, {})
    return Result(assignment, student, status, message, tasks, checks, (), {}, 0.0)
