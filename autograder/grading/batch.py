"""Many submissions: finds them and grades them side by side, each in a judge that may die.

A judge is a process that grades one submission at a time and hands each Result back. One that is
ended from outside takes nothing with it but its own submission, which is tried once more. Judges
end with the grader that started them, however it ends.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from autograder.grading import judge
from autograder.grading.parent_death import EndWithParent, run_with_parent
from autograder.records.results import Result
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import BEST, Sandbox

TRIES = 2
# What a judge may take beyond its submission's own limits before it is given up.
GRACE_SECONDS = 300.0
Grade = Callable[[Path, str, str, Limits | None, Sandbox, bool], Result]


class BatchError(Exception):
    """There is nothing to grade where the user pointed."""


@dataclass(frozen=True)
class Entry:
    """One submission to grade.

    Attributes:
        student: Whose it is.
        path: The notebook.
        folder: Where all submissions lie; no link may lead away from below it. None for a
            notebook that stands alone.
        train: False to leave out the checks that train.
    """

    student: str
    path: Path
    folder: Path | None = None
    train: bool = True


def find_submissions(folder: Path, assignment: str) -> list[Entry]:
    """List submissions in nbgrader's layout, `<student>/<assignment>/<assignment>.ipynb`.

    A student without a notebook is listed too: not to have submitted is a result.

    Raises:
        BatchError: If the folder does not exist or no student has the assignment.
    """
    if not folder.is_dir():
        raise BatchError(f"There is no folder {folder}.")
    entries = [
        Entry(child.name, child / assignment / f"{assignment}.ipynb", folder)
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    ]
    if not any(os.path.lexists(entry.path) for entry in entries):
        raise BatchError(
            f"No submission to {assignment} in {folder}: expected "
            f"{folder}/<student>/{assignment}/{assignment}.ipynb."
        )
    return entries


def grade_all(
    entries: Sequence[Entry],
    assignment: str,
    jobs: int,
    limits: Limits,
    sandbox: Sandbox = BEST,
) -> Iterator[Result]:
    """Grade submissions in `jobs` processes; yield each Result as it is done.

    A submission that brings its judge down is tried once more, in a new one; then it is recorded
    as "not_graded". None is lost and none stops the others.

    Raises:
        SandboxError: If no sandbox holds here and none was named.
    """
    sandbox = sandbox.resolved()
    waiting = deque(_Try(entry) for entry in entries)
    judges: list[_Judge] = []
    # Taken from the module now, so that what the caller sees there is what the judges run.
    grade = judge.grade
    try:
        while waiting or judges:
            while waiting and len(judges) < jobs:
                judges.append(_Judge(grade, assignment, limits, sandbox))
            for one in judges:
                if one.now is None and waiting:
                    one.give(waiting.popleft())
            for one in [one for one in judges if one.now is None]:
                judges.remove(one)
                one.close()
            for one in _ready(judges):
                tried = one.now
                assert tried is not None
                result = one.take()
                if result is None:
                    judges.remove(one)
                    how = one.close()
                    result = _given_up(tried, assignment, how)
                    if result is None:
                        waiting.appendleft(replace(tried, count=tried.count + 1))
                if result is not None:
                    yield result
    finally:
        for one in judges:
            one.close()


@dataclass(frozen=True)
class _Try:
    entry: Entry
    count: int = 1


@dataclass
class _Judge:
    """The grader's end of one judge process."""

    grade: Grade
    assignment: str
    limits: Limits
    sandbox: Sandbox
    now: _Try | None = None
    until: float = 0.0
    process: BaseProcess = field(init=False)
    pipe: Connection = field(init=False)

    def __post_init__(self) -> None:
        # Spawned, not forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        how = (self.grade, self.assignment, self.limits, self.sandbox)
        self.process = context.Process(
            target=run_with_parent, args=(EndWithParent(), _serve, there, *how)
        )
        self.process.start()
        there.close()

    def give(self, one: _Try) -> None:
        """Set it to work on a submission."""
        self.now = one
        spend = TRIES * (self.limits.start_seconds + self.limits.seconds) + GRACE_SECONDS
        self.until = time.monotonic() + spend
        with contextlib.suppress(OSError):  # it is gone: `take` says so
            self.pipe.send(one.entry)

    def take(self) -> Result | None:
        """Give the Result that it has ready; None if it is gone, or too late."""
        self.now = None
        try:
            if self.pipe.poll():
                result: Result = self.pipe.recv()
                return result
        except (EOFError, OSError):
            pass
        return None

    def close(self) -> str:
        """End it; returns in words how it ended, had it not been ended here."""
        alive = self.process.is_alive() and time.monotonic() >= self.until > 0
        self.pipe.close()
        if self.now is not None or alive:
            self.process.kill()
        self.process.join(5.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        return "did not come to an end" if alive else f"was ended from outside (exit code {code})"


def _ready(judges: Sequence[_Judge]) -> list[_Judge]:
    """Wait until a judge has answered, is gone, or is too late."""
    if not judges:
        return []
    now = time.monotonic()
    soonest = max(0.0, min(one.until for one in judges) - now)
    seen = wait([x for one in judges for x in (one.pipe, one.process.sentinel)], soonest)
    late = time.monotonic()
    return [
        one
        for one in judges
        if one.pipe in seen or one.process.sentinel in seen or late >= one.until
    ]


def _given_up(tried: _Try, assignment: str, how: str) -> Result | None:
    if tried.count < TRIES:
        return None
    message = f"The judge's own process {how}, {TRIES} times; grade this one again."
    return judge.unjudged(assignment, tried.entry.student, "not_graded", message)


# In a judge's process


def _serve(
    pipe: Connection,
    grade: Grade,
    assignment: str,
    limits: Limits,
    sandbox: Sandbox,
) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grader, which ends us
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            entry: Entry = pipe.recv()
            pipe.send(_grade_one(entry, grade, assignment, limits, sandbox))


def _grade_one(
    entry: Entry, grade: Grade, assignment: str, limits: Limits, sandbox: Sandbox
) -> Result:
    link = _link_below(entry)
    if link:
        message = f"It lies behind the link `{link}`; links are not followed."
        return judge.unjudged(assignment, entry.student, "unreadable", message)
    try:
        given = (entry.path, assignment, entry.student, limits, sandbox, entry.train)
        result = grade(*given)
        if result.status == "crashed":
            result = grade(*given)
            again = f"Its process ended at the first of {TRIES} tries; this is the second."
            result = replace(result, notes=(*result.notes, again))
        return result
    except Exception as error:  # the grader's fault is written down, and the batch goes on
        message = f"The grader failed: {type(error).__name__}: {error}"
        return judge.unjudged(assignment, entry.student, "not_graded", message[:600])


def _link_below(entry: Entry) -> str | None:
    """Name a link among the folders between a submission and where all of them lie."""
    if entry.folder is None:
        return None
    between = entry.path.parent
    while between != entry.folder:
        if between.is_symlink():
            return between.name
        between = between.parent
    return None
