"""Grades a batch: finds the submissions and grades several at the same time.

A judge is a process that grades one submission at a time and returns its result. If a judge is
killed, only its current submission is affected, and another judge grades it once more. All judges
end when the grader that started them ends, also if it is killed.
"""

import contextlib
import itertools
import multiprocessing
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

from autograder.course.locate import PACKAGE, current_course
from autograder.grading import judge
from autograder.grading.parent_death import EndWithParent, run_with_parent
from autograder.records.errors import UserError
from autograder.records.results import Result
from autograder.records.text import printable
from autograder.sandbox import layout
from autograder.sandbox.allowed import python_folders
from autograder.sandbox.clock import Clock
from autograder.sandbox.limits import MIB, Limits
from autograder.sandbox.tiers import BEST, Sandbox

TRIES = 2
# How many files of a student's folder are looked at.
MOST_FILES_SEEN = 1000
# The time that a judge may use in addition to its submission's limits before it is killed.
GRACE_SECONDS = 300.0
POLL_SECONDS = 0.5
# Memory that a judge may allocate, in MiB. A frame has at most 256 MiB; some checks convert it to
# float64 and keep several copies.
JUDGE_MIB = 4096
Grade = Callable[[Path, str, str, Limits | None, Sandbox, bool, bytes], Result]


class BatchError(UserError):
    """The batch cannot be graded, for example because there are no submissions."""


@dataclass(frozen=True)
class Entry:
    """One submission to grade.

    Attributes:
        student: The student's name.
        path: The notebook.
        folder: The folder of all submissions. No folder between it and the notebook may be a link.
            None for a single notebook.
        train: False to skip the checks that train.
        secret: The secret of the random inputs; see `checks.seeds`. b"" if it need not be one.
        note: What an instructor should know about the file; "" for nothing.
    """

    student: str
    path: Path
    folder: Path | None = None
    train: bool = True
    secret: bytes = field(default=b"", repr=False)
    note: str = ""


def find_submissions(folder: Path, assignment: str) -> list[Entry]:
    """List the submissions in nbgrader's layout, `<student>/<assignment>/<assignment>.ipynb`.

    If a student has no such file, but exactly one notebook with another name, in the folder of the
    student or of the assignment or one level deeper, it is taken, with a note. Students without a
    notebook are also listed. Their status becomes "missing". A link in the place of a student's
    folder is listed too: its status becomes "unreadable".

    Raises:
        BatchError: If the folder does not exist or cannot be read, or if no student has a notebook
            of the assignment.
    """
    # The functions of `os.path` answer False where those of `Path` raise, for example for a link
    # with a target that is too long, or in a folder without permission.
    if not os.path.isdir(folder):
        raise BatchError(f"There is no folder {folder}. Name the folder of the submissions.")
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise BatchError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    entries = [
        _entry(child, assignment, folder)
        for child in children
        if not child.name.startswith(".") and _is_folder_or_odd_link(child)
    ]
    if not any(_may_exist(entry.path) for entry in entries):
        raise BatchError(
            f"No submission to {assignment} found in {folder}. Expected files: "
            f"{folder}/<student>/{assignment}/{assignment}.ipynb."
        )
    return entries


def _entry(child: Path, assignment: str, folder: Path) -> Entry:
    """Return the entry of one student's folder."""
    expected = child / assignment / f"{assignment}.ipynb"
    if _may_exist(expected):
        return Entry(child.name, expected, folder)
    found = sorted({*_notebooks(child, 1), *_notebooks(child / assignment, 2)})
    if len(found) != 1:
        return Entry(child.name, expected, folder, note=_about_others(child, assignment, found))
    where = printable(str(found[0].relative_to(child)), 200)
    note = f"The notebook was found as `{where}`; expected `{assignment}/{assignment}.ipynb`."
    return Entry(child.name, found[0], folder, note=note)


def chosen(entries: Sequence[Entry], students: Collection[str]) -> list[Entry]:
    """Return the entries of some students.

    Raises:
        BatchError: If one of them has no folder.
    """
    unknown = sorted(set(students) - {entry.student for entry in entries})
    if unknown:
        raise BatchError(
            f"There is no folder of {', '.join(unknown)} among the submissions. Write the name of "
            "the folder."
        )
    return [entry for entry in entries if entry.student in students]


def _about_others(child: Path, assignment: str, found: list[Path]) -> str:
    """Return a note about the files of a student without a notebook in its place; "" for none."""
    files = found or sorted({*_files(child, 1), *_files(child / assignment, 1)})
    shown = ", ".join(printable(str(path.relative_to(child)), 80) for path in files[:5])
    if found:
        return f"There are several other notebooks: {shown}."
    if any(path.suffix.lower() == ".zip" for path in files):
        return f"There is an archive: {shown}. `vaelab collect` reads archives."
    return f"There is no notebook among the files: {shown}." if files else ""


def _notebooks(folder: Path, levels: int) -> list[Path]:
    """Return the notebooks of a folder and of those in it."""
    return [path for path in _files(folder, levels) if path.suffix.lower() == ".ipynb"]


def _files(folder: Path, levels: int) -> list[Path]:
    """Return the files of a folder and of those in it; links and hidden names are left out."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in itertools.islice(entries, MOST_FILES_SEEN):
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if levels > 1 and entry.is_dir(follow_symlinks=False):
                found += _files(Path(entry.path), levels - 1)
            elif entry.is_file(follow_symlinks=False):
                found.append(Path(entry.path))
    return found


def _is_folder_or_odd_link(path: Path) -> bool:
    """Return whether a path may be a student's: a folder, or a link that leads to no file."""
    return os.path.isdir(path) or (os.path.islink(path) and not os.path.isfile(path))


def _may_exist(path: Path) -> bool:
    """Return whether a path exists, or cannot be looked up for another reason."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def expect_apart(submissions: Path, out: Path) -> None:
    """Expect that the output folder is not among the submissions.

    Raises:
        BatchError: If it is: it would be graded as a student's folder, and a later run would read
            its files as submissions.
    """
    inside, outside = os.path.realpath(out), os.path.realpath(submissions)
    if os.path.commonpath([inside, outside]) == outside:
        raise BatchError(
            f"The output folder {out} is inside the folder of the submissions, {submissions}. "
            "Choose another folder with --out."
        )


def expect_hidden(sandbox: Sandbox, paths: Sequence[Path]) -> None:
    """Expect that submissions cannot read the course, other submissions and results.

    Args:
        sandbox: The sandbox of the submissions; its tier is chosen.
        paths: The folder of the submissions and the output folder.

    Raises:
        BatchError: If one of them can be read in a sandbox that claims to hide it.
        SandboxError: If the sandbox does not work.
    """
    if sandbox.tier == "C":
        return
    course = current_course()
    hidden = [course.root, course.solutions, course.root / "tests", course.checks, *paths]
    hidden += [PACKAGE / "checks", PACKAGE / "grading"]
    found = layout.readable(sandbox, [path for path in hidden if path.exists()])
    if found:
        raise BatchError(
            f"Submissions could read {', '.join(found)}: the sandbox shows the folders of Python "
            f"({', '.join(python_folders())}) to them. Move these files to another folder, or "
            "install Python's environment in another one."
        )


class Judges:
    """Judge processes, which stay for several batches; use it as a context manager.

    Args:
        jobs: The number of judges.
        limits: The limits of each submission.
        sandbox: The sandbox of each submission.

    Raises:
        SandboxError: If no sandbox works on this machine and `sandbox` names no tier.
    """

    def __init__(self, jobs: int, limits: Limits, sandbox: Sandbox = BEST):
        self.jobs = jobs
        self.limits = limits
        self.sandbox = sandbox.resolved()
        self._judges: list[_Judge] = []

    def __enter__(self) -> "Judges":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._judges:
            self._judges.pop().close()

    def grade_all(self, entries: Sequence[Entry], assignment: str) -> Iterator[Result]:
        """Grade submissions; see the function of the same name."""
        waiting = deque(_Try(entry, assignment) for entry in entries)
        judges = self._judges
        try:
            while waiting or any(one.now for one in judges):
                for one in judges:
                    if one.now is None and waiting:
                        one.give(waiting.popleft())
                while waiting and len(judges) < self.jobs:
                    # Read from the module here, so that judges also run a replacement that a test
                    # puts there.
                    judges.append(_Judge(judge.grade, self.limits, self.sandbox))
                    judges[-1].give(waiting.popleft())
                for one in _ready(judges):
                    tried = one.now
                    result = one.take()
                    if result is None:
                        judges.remove(one)
                        how = one.close()
                        if tried is None:  # it ended while it had nothing to do
                            continue
                        result = _given_up(tried, how)
                        if result is None:
                            waiting.appendleft(replace(tried, count=tried.count + 1))
                    if result is not None:
                        yield result
        finally:
            for one in [one for one in judges if one.now]:
                judges.remove(one)
                one.close()


def grade_all(
    entries: Sequence[Entry],
    assignment: str,
    jobs: int,
    limits: Limits,
    sandbox: Sandbox = BEST,
) -> Iterator[Result]:
    """Grade submissions in `jobs` processes.

    If a judge ends while it grades a submission, a new judge grades it once more. If that judge
    also ends, the submission's status is "not_graded". The other submissions are not affected.

    Args:
        entries: The submissions.
        assignment: The assignment's name.
        jobs: The number of judges.
        limits: The limits of each submission.
        sandbox: The sandbox of each submission.

    Yields:
        One result for each submission, as soon as it is there.

    Raises:
        SandboxError: If no sandbox works on this machine and `sandbox` names no tier.
    """
    with Judges(jobs, limits, sandbox) as judges:
        yield from judges.grade_all(entries, assignment)


@dataclass(frozen=True)
class _Try:
    entry: Entry
    assignment: str
    count: int = 1


@dataclass
class _Judge:
    """The grader's end of one judge process."""

    grade: Grade
    limits: Limits
    sandbox: Sandbox
    now: _Try | None = None
    until: float = 0.0
    process: BaseProcess = field(init=False)
    pipe: Connection = field(init=False)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        # Spawned, not forked: a fork does not copy PyTorch's threads.
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        how = (self.grade, self.limits, self.sandbox)
        self.process = context.Process(
            target=run_with_parent, args=(EndWithParent(), _serve, there, *how)
        )
        self.process.start()
        there.close()

    def give(self, one: _Try) -> None:
        """Send it a submission and start its time limit."""
        self.now = one
        spend = TRIES * (self.limits.start_seconds + self.limits.seconds) + GRACE_SECONDS
        self.until = self.clock() + spend
        with contextlib.suppress(OSError):  # the process has ended: `take` returns None
            self.pipe.send((one.entry, one.assignment))

    def take(self) -> Result | None:
        """Return its result; None if the process has ended or exceeded its time limit."""
        self.now = None
        try:
            if self.pipe.poll():
                result: Result = self.pipe.recv()
                return result
        except (EOFError, OSError):
            pass
        return None

    def close(self) -> str:
        """End the process; return in words how it ended if it did not return a result."""
        alive = self.process.is_alive() and self.clock() >= self.until > 0
        self.pipe.close()
        if self.now is not None or alive:
            self.process.kill()
        self.process.join(5.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        if alive:
            return "did not finish in time"
        return f"ended before it returned a result (exit code {code})"


def _ready(judges: Sequence[_Judge]) -> list[_Judge]:
    """Wait a moment; return the judges with a result, and those that ended or took too long."""
    seen = wait([x for one in judges for x in (one.pipe, one.process.sentinel)], POLL_SECONDS)
    return [
        one
        for one in judges
        if (one.now and one.clock() >= one.until)
        or one.pipe in seen
        or one.process.sentinel in seen
    ]


def _given_up(tried: _Try, how: str) -> Result | None:
    if tried.count < TRIES:
        return None
    message = (
        f"The grader's own process {how}, in {TRIES} of {TRIES} tries. Grade this submission again."
    )
    return judge.unjudged(tried.assignment, tried.entry.student, "not_graded", message)


# The functions below run in a judge's process


def _serve(
    pipe: Connection,
    grade: Grade,
    limits: Limits,
    sandbox: Sandbox,
) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the grader ends its judges
    torch.set_num_threads(1)
    limit_memory()
    with contextlib.suppress(EOFError, OSError):
        while True:
            entry, assignment = pipe.recv()
            pipe.send(_grade_one(entry, grade, assignment, limits, sandbox))


def limit_memory() -> None:
    """Limit the memory of this process to `JUDGE_MIB`; processes that it starts may raise it."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = JUDGE_MIB * MIB
    with contextlib.suppress(ValueError, OSError):  # some systems have a lower limit, or none
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _grade_one(
    entry: Entry, grade: Grade, assignment: str, limits: Limits, sandbox: Sandbox
) -> Result:
    try:
        if link := _link_below(entry):
            message = f"The folder `{printable(link)}` is a link; links are not followed."
            return judge.unjudged(assignment, entry.student, "unreadable", message)
        started = time.monotonic()
        about = (entry.path, assignment, entry.student)
        result = grade(*about, limits, sandbox, entry.train, entry.secret)
        left = limits.seconds - (time.monotonic() - started)
        if result.status == "crashed" and left > 0:
            less = replace(limits, seconds=left)
            result = grade(*about, less, sandbox, entry.train, entry.secret)
            again = f"Its process crashed in the first of {TRIES} tries. This is the second result."
            result = replace(result, notes=(*result.notes, again))
        if not entry.note:
            return result
        look = (entry.note, *result.look) if result.score < result.max_score else ()
        return replace(result, notes=(entry.note, *result.notes), look=look)
    except MemoryError:
        return judge.unjudged(assignment, entry.student, "memory", judge.JUDGE_MEMORY)
    except Exception as error:  # an error of the grader becomes a result, and the batch goes on
        message = f"The grader failed: {type(error).__name__}: {error}"
        return judge.unjudged(assignment, entry.student, "not_graded", message[:600])


def _link_below(entry: Entry) -> str | None:
    """Return the name of a link between the folder of all submissions and a notebook, or None."""
    if entry.folder is None:
        return None
    between = entry.path.parent
    while between != entry.folder:
        if os.path.islink(between):
            return between.name
        between = between.parent
    return None
