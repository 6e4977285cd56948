"""The judge: grades one submission and returns its result."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autograder.checks.evaluate import evaluate
from autograder.checks.registry import load_checks
from autograder.checks.seeds import submission_key
from autograder.checks.vocabulary import info
from autograder.course.sources import load_source
from autograder.grading.cells import cell_notes, failed_cells, run_cells
from autograder.grading.helpers import digest_of
from autograder.grading.notebook import (
    Opened,
    UnreadableError,
    helpers_of,
    open_notebook,
    parse_notebook,
    read_bytes,
)
from autograder.protocol.ended import Ended
from autograder.protocol.frames import Frame
from autograder.protocol.remote import Ask, Submission
from autograder.records.results import (
    GRADER_ERROR,
    NOT_RUN,
    SKIPPED,
    CheckOutcome,
    Result,
    TaskScore,
    answer_digest,
)
from autograder.sandbox.host import WorkerProcess
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST, Sandbox

JUDGE_MEMORY = "What the submission sent takes more memory than a judge may use."
# All runs of a submission together may take this many times its time limit.
MOST_TIMES = 2.0
NO_ANSWERS: Mapping[str, str | None] = {}
# How many cells of the student's own may end their process before the submission ends.
MOST_SKIPPED = 3
# How often at most a new worker grades the tasks after one whose worker ended.
MOST_CONTINUED = 4
CONTINUES = (
    "A check of your work ended its process, or reached a limit. The tasks after it were graded in "
    "another process."
)
Around = Callable[[Ask], Ask]


@dataclass(eq=False)
class Judging:
    """One submission while it is graded.

    Attributes:
        assignment: The assignment's name.
        submission: The object that the checks use.
        worker: The process that runs the submission's code.
        outcomes: The outcomes of the checks that have run.
    """

    assignment: str
    submission: Submission
    worker: WorkerProcess
    outcomes: list[CheckOutcome] = field(default_factory=list)

    def continue_from(self, earlier: "Judging") -> None:
        """Take over what is known from an earlier worker."""
        self.outcomes += earlier.outcomes
        self.submission.failed |= earlier.submission.failed
        self.submission.facts |= earlier.submission.facts
        for remark in (*earlier.submission.remarks, CONTINUES):
            self.submission.remark(remark)

    def evaluate(self, function: Callable[..., None]) -> CheckOutcome:
        """Run one check; add its outcome to `outcomes` and return it."""
        task = load_checks(self.assignment).task(info(function).task)
        self.outcomes.append(evaluate(function, task, self.submission))
        return self.outcomes[-1]


@contextlib.contextmanager
def judging(
    path: Path,
    assignment: str,
    limits: Limits | None = None,
    sandbox: Sandbox = BEST,
    *,
    key: bytes = b"",
    train: bool = True,
    around: Around = lambda ask: ask,
) -> Iterator[Judging]:
    """Open a submission in its own worker and run its cells, so that it can be checked.

    Args:
        path: The notebook.
        assignment: The assignment's name.
        limits: The limits of the submission; None for the default limits.
        sandbox: The sandbox of its worker.
        key: The key of the random inputs; see `checks.seeds`.
        train: False to skip the checks that train.
        around: Replaces the function that asks the worker, for example by one that records.

    Raises:
        UnreadableError: If the file is not a readable notebook.
        Ended: If the worker ended while it started or ran the submission's cells.
    """
    opened = open_notebook(path, assignment)
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(WorkerProcess(limits or Limits(), sandbox))
        submission = _submission(opened, worker, assignment, key, stack, train, around)
        run_cells(submission, opened)
        yield Judging(assignment, submission, worker)


def grade(
    path: Path,
    assignment: str,
    student: str,
    limits: Limits | None = None,
    sandbox: Sandbox = BEST,
    train: bool = True,
    secret: bytes = b"",
) -> Result:
    """Grade one submission.

    Args:
        path: The notebook.
        assignment: The assignment's name.
        student: The student's name.
        limits: The limits of the submission; None for the default limits.
        sandbox: The sandbox of its worker.
        train: False to skip the checks that train. Their tasks then earn no points.
        secret: The secret of the random inputs; see `checks.seeds`. b"" if it need not be one.

    Returns:
        The result. There is one for every behaviour of the submission.

    Raises:
        SandboxError: If no sandbox works on this machine and `sandbox` names no tier.
    """
    sandbox = sandbox.resolved()
    started = time.monotonic()

    def result(
        status: str, message: str, outcomes: list[CheckOutcome], notes: tuple[str, ...], facts: dict
    ) -> Result:
        answers = opened.answers if opened else NO_ANSWERS
        seconds = round(time.monotonic() - started, 2)
        tasks, checks = _scores(assignment, outcomes, message, answers)
        every = (assignment, student, status, message, tasks, checks, notes, facts, seconds)
        found = Result(*every, sandbox.tier, digest)
        return replace(found, look=look) if found.score < found.max_score else found

    opened: Opened | None = None
    digest = ""
    look: tuple[str, ...] = ()
    try:
        raw = read_bytes(path)
        helpers = helpers_of(path, raw)
        digest = digest_of(raw, helpers)
        opened = parse_notebook(raw, assignment, helpers)
    except FileNotFoundError:
        return result("missing", f"The file {path.name} does not exist.", [], (), {})
    except (UnreadableError, OSError) as error:
        look = (str(error),)
        return result("unreadable", str(error), [], (), {})

    key = submission_key(secret, digest)
    limits = limits or Limits()
    until = started + MOST_TIMES * limits.seconds
    for number in range(1 + MOST_SKIPPED):
        left = until - time.monotonic()
        less = replace(limits, seconds=min(limits.seconds, left)) if number else limits
        run = _run(opened, assignment, less, sandbox, key, train)
        ended_in_own = any(cell.name == run.ended_in and cell.own for cell in opened.cells)
        if not ended_in_own or time.monotonic() >= until:
            break
        # The work may be right without a cell of the student's own.
        opened = opened.without(run.ended_in, f"`{run.ended_in}` was skipped. {run.message}")
    look = opened.look if run.status == "graded" else (run.message, *opened.look)
    if run.judging is None:
        return result(run.status, run.message, [], opened.notes, {})
    submission = run.judging.submission
    look += failed_cells(submission)
    notes = opened.notes + cell_notes(submission)
    return result(run.status, run.message, run.judging.outcomes, notes, submission.facts)


@dataclass(frozen=True)
class _Run:
    """One run of a submission's cells and of all checks.

    Attributes:
        status: A key of `STATUSES`.
        message: Why the status is not "graded"; "" if it is.
        judging: The submission and the outcomes; None if its cells did not run to the end.
        ended_in: The name of the cell that ended the worker; "" if none did.
    """

    status: str
    message: str
    judging: Judging | None
    ended_in: str


def _run(
    opened: Opened, assignment: str, limits: Limits, sandbox: Sandbox, key: bytes, train: bool
) -> _Run:
    """Run the cells and the checks; if a task ends its worker, run the later tasks in a new one.

    All workers together have the time limit of the submission.
    """
    until = time.monotonic() + limits.seconds
    run = first = _run_once(opened, assignment, limits, sandbox, key, train)
    for _ in range(MOST_CONTINUED):
        left = until - time.monotonic()
        of_worker = run.status != "graded" and run.message != JUDGE_MEMORY
        if not of_worker or left <= 0 or not run.judging or not _open(run.judging):
            break
        less = replace(limits, seconds=left)
        again = _run_once(opened, assignment, less, sandbox, key, train, run.judging)
        if again.judging is None:
            break
        run = again
    return replace(run, status=first.status, message=first.message)


def _open(judging: Judging) -> list[Callable[..., None]]:
    """Return the checks that have not run, without those of a task in which a worker ended."""
    ended = {outcome.task for outcome in judging.outcomes if outcome.outcome == NOT_RUN}
    done = {(outcome.task, outcome.check) for outcome in judging.outcomes}
    functions = load_checks(judging.assignment).functions
    notes = [info(function) for function in functions]
    return [
        function
        for function, note in zip(functions, notes, strict=True)
        if note.task not in ended and (note.task, note.name) not in done
    ]


def _run_once(
    opened: Opened,
    assignment: str,
    limits: Limits,
    sandbox: Sandbox,
    key: bytes,
    train: bool,
    earlier: Judging | None = None,
) -> _Run:
    """Run the cells, and the checks that did not run earlier, in a worker of their own."""
    judging: Judging | None = None
    status, message, ended_in = "graded", "", ""
    with contextlib.ExitStack() as stack:
        try:
            worker = stack.enter_context(WorkerProcess(limits, sandbox))
            submission = _submission(opened, worker, assignment, key, stack, train)
            try:
                run_cells(submission, opened)
            except Ended:
                ended_in = submission.cell
                raise
            judging = Judging(assignment, submission, worker)
            if earlier:
                judging.continue_from(earlier)
            run_checks(judging)
            if worker.ended:
                raise worker.ended
        except Ended as end:
            status, message = end.status, str(end)
        except MemoryError:  # of the judge; memory of the worker is the watcher's business
            status, message = "memory", JUDGE_MEMORY
    return _Run(status, message, judging, ended_in)


def _submission(
    opened: Opened,
    worker: WorkerProcess,
    assignment: str,
    key: bytes,
    stack: contextlib.ExitStack,
    train: bool = True,
    around: Around = lambda ask: ask,
) -> Submission:
    """Return a submission in a worker; its cells have not run.

    Args:
        opened: The submission.
        worker: The worker.
        assignment: The assignment's name.
        key: The key of the random inputs; see `checks.seeds`.
        stack: What ends further workers of this submission.
        train: See `grade`.
        around: See `judging`.
    """

    def fresh() -> Submission:
        another = stack.enter_context(_another(worker))
        return run_cells(Submission(_together(worker, another), assignment), opened)

    return Submission(around(worker.ask), assignment, key=key, fresh=fresh, train=train)


def _another(worker: WorkerProcess) -> WorkerProcess:
    """Return a further worker for the same submission."""
    return WorkerProcess(worker.limits, worker.sandbox, worker)


def _together(worker: WorkerProcess, another: WorkerProcess) -> Ask:
    """Return a function that asks `another`; if that ends, the submission ends."""

    def ask(request: Frame, seconds: float | None) -> Iterator[Frame]:
        try:
            yield from another.ask(request, seconds)
        except Ended as end:
            worker.end(end)
            raise

    return ask


def run_checks(current: Judging) -> None:
    """Run the assignment's checks that have not run, in order, until the worker ends.

    `pytest autograder/checks` runs the same functions. They are called without pytest here, because
    pytest takes more time than the checks.
    """
    for function in _open(current):
        if current.worker.ended:
            break
        current.evaluate(function)


def _scores(
    assignment: str,
    outcomes: list[CheckOutcome],
    message: str,
    answers: Mapping[str, str | None] | None,
) -> tuple[tuple[TaskScore, ...], tuple[CheckOutcome, ...]]:
    """Return the score of each task and one outcome for each check.

    A check without an outcome counts as not run, with `message`. A person grades the written
    answers that there are, and earns nothing without one; `answers` is None if they are not known.
    """
    checks = load_checks(assignment)
    done = {(outcome.task, outcome.check): outcome for outcome in outcomes}
    every = []
    for function in checks.functions:
        note = info(function)
        points = checks.task(note.task).points
        not_run = CheckOutcome(
            note.name, note.task, points, note.sentence, NOT_RUN, message, None, 0.0
        )
        every.append(done.get((note.task, note.name), not_run))
    tasks = []
    for task in checks.tasks:
        outcomes_of = {c.outcome for c in every if c.task == task.id}
        points = task.points if outcomes_of == {"passed"} else 0.0
        # A check that failed loses the task, whatever the others would have said.
        open_ = GRADER_ERROR in outcomes_of and outcomes_of <= {"passed", SKIPPED, GRADER_ERROR}
        tasks.append(TaskScore(task.id, task.title, points, task.points, not_graded=open_))
    for cell in load_source(assignment).of("answer"):
        text = answers.get(cell.id) if answers is not None else None
        digest = "" if answers is None else answer_digest(text or "")
        pending = answers is None or bool(text)
        tasks.append(TaskScore(cell.id, cell.title, 0.0, cell.points, pending, answer=digest))
    return tuple(tasks), tuple(every)


def unjudged(assignment: str, student: str, status: str, message: str) -> Result:
    """Return the result of a submission that was not given to a worker.

    Args:
        assignment: The assignment's name.
        student: The student's name.
        status: "not_graded" if the grader failed, or another key of `STATUSES`.
        message: The reason.
    """
    answers = NO_ANSWERS if status in ("missing", "unreadable") else None
    tasks, checks = _scores(assignment, [], message, answers)
    return Result(assignment, student, status, message, tasks, checks, (), {}, 0.0)
