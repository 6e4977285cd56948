"""Grades a batch on a Dask cluster: each thread of a Dask worker has a judge of its own.

The cluster distributes the submissions and gives those of a lost worker to another one. The judge
is the same as on one machine, with the same limits and the same sandbox. So are the results.
"""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autograder.course.locate import current_course, use_course
from autograder.grading import judge
from autograder.grading.batch import BatchError, Entry, Judges
from autograder.grading.versions import versions
from autograder.records.results import Result, Versions
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

CONNECT_SECONDS = 30
_own = threading.local()


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one submission.

    Attributes:
        entry: The submission, with absolute paths.
        assignment: The assignment's name.
        limits: The submission's limits.
        sandbox: The submission's sandbox.
        course: The course's folder.
        versions: The versions that grade the batch; the worker must have the same ones.
    """

    entry: Entry
    assignment: str
    limits: Limits
    sandbox: Sandbox
    course: Path
    versions: Versions


def grade_on(
    address: str, entries: Sequence[Entry], assignment: str, limits: Limits, sandbox: Sandbox
) -> Iterator[Result]:
    """Grade submissions on a Dask cluster.

    Args:
        address: The scheduler's address, such as "tcp://node7:8786".
        entries: The submissions. Every worker must see their files at the same paths.
        assignment: The assignment's name.
        limits: The limits of each submission.
        sandbox: The sandbox of each submission.

    Yields:
        One result for each submission, as soon as it is there.

    Raises:
        BatchError: If Dask is not installed, if there is no cluster at the address, or if a worker
            sees other files or has other versions.
    """
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise BatchError(
            "The package distributed is missing. Install it: pip install 'vaelab[dask]'."
        ) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise BatchError(f"There is no Dask scheduler at {address}: {error}.") from error
    root, used = current_course().root, versions(limits, b"")
    jobs = [
        _Job(_absolute(entry), assignment, limits, sandbox, root, replace(used, date=""))
        for entry in entries
    ]
    with client:
        # Not pure: the same file can be graded again on purpose.
        futures = client.map(_grade, jobs, pure=False)
        students = dict(zip((future.key for future in futures), entries, strict=True))
        for future in as_completed(futures):
            try:
                yield future.result()
            except KilledWorker as error:
                message = f"Each worker of the cluster that graded this was lost: {error}"
                student = students[future.key].student
                yield judge.unjudged(assignment, student, "not_graded", message[:600])
            future.release()


def _absolute(entry: Entry) -> Entry:
    folder = Path(os.path.abspath(entry.folder)) if entry.folder else None
    return replace(entry, path=Path(os.path.abspath(entry.path)), folder=folder)


# The functions below run in a Dask worker


def _grade(job: _Job) -> Result:
    """Grade one submission with the judge of this thread."""
    _expect_same(job)
    found = list(_judges(job).grade_all([job.entry], job.assignment))
    return found[0]


def _expect_same(job: _Job) -> None:
    folder = job.entry.folder or job.entry.path.parent
    for path in (folder, job.course):
        if not path.is_dir():
            raise BatchError(
                f"The Dask worker on {os.uname().nodename} does not see {path}. Put the course and "
                "the submissions into a folder that all machines share."
            )
    use_course(job.course)
    here = replace(versions(job.limits, b""), date="")
    if here != job.versions:
        raise BatchError(
            f"The Dask worker on {os.uname().nodename} has {here}, and the command has "
            f"{job.versions}. Start the workers from the same environment."
        )


def _judges(job: _Job) -> Judges:
    how: Any = (job.limits, job.sandbox, job.course)
    if getattr(_own, "how", None) != how:
        with contextlib.suppress(AttributeError):
            _own.judges.__exit__(None, None, None)
        # Dask starts its workers as daemons, which may not start processes. A judge ends with them.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
        _own.how, _own.judges = how, Judges(1, job.limits, job.sandbox)
    judges: Judges = _own.judges
    return judges
