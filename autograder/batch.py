"""Many submissions: finds them, grades them side by side, and writes what comes out as it comes."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from autograder import judge
from autograder.host import BEST, Limits, Sandbox
from autograder.results import Result


class BatchError(Exception):
    """There is nothing to grade where the user pointed."""


@dataclass(frozen=True)
class Entry:
    """One submission to grade."""

    student: str
    path: Path


def find_submissions(folder: Path, assignment: str) -> list[Entry]:
    """List submissions in nbgrader's layout, `<student>/<assignment>/<assignment>.ipynb`.

    A student without a notebook is listed too: not to have submitted is a result.

    Raises:
        BatchError: If the folder does not exist or no student has the assignment.
    """
    if not folder.is_dir():
        raise BatchError(f"There is no folder {folder}.")
    entries = [
        Entry(child.name, child / assignment / f"{assignment}.ipynb")
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    ]
    if not any(entry.path.exists() for entry in entries):
        raise BatchError(
            f"No submission to {assignment} in {folder}: expected "
            f"{folder}/<student>/{assignment}/{assignment}.ipynb."
        )
    return entries


def grade_all(
    entries: list[Entry],
    assignment: str,
    jobs: int,
    limits: Limits,
    sandbox: Sandbox = BEST,
) -> Iterator[Result]:
    """Grade submissions in `jobs` processes; yield each Result as it is done.

    A submission that brings a judge down is graded as "not_graded", and so are those that the
    same pool had not begun; none is lost and none stops the others.

    Raises:
        SandboxError: If no sandbox holds here and none was named.
    """
    sandbox = sandbox.resolved()
    with _pool(jobs) as pool:
        futures: dict[Future[Result], Entry] = {
            pool.submit(judge.grade, entry.path, assignment, entry.student, limits, sandbox): entry
            for entry in entries
        }
        try:
            for future in as_completed(futures):
                yield _result(future, futures[future], assignment)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _result(future: "Future[Result]", entry: Entry, assignment: str) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:
        message = "The judge's own process was ended from outside; grade this one again."
    except Exception as error:  # the grader's fault is written down, and the batch goes on
        message = f"The grader failed: {type(error).__name__}: {error}"
    return judge.not_graded(assignment, entry.student, message)
