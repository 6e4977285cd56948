"""Writes a graded class to a folder: each result as it comes, the class's pages at the end.

A grader that is killed leaves whole files only. The next one reads them, keeps what still holds,
and grades the rest.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from autograder.course.locate import current_course
from autograder.grading.batch import BatchError, Entry
from autograder.grading.notebook import UnreadableError, read_bytes
from autograder.records.results import PART, Result, from_json, to_json, write_text
from autograder.records.text import file_name
from autograder.reports.pages import class_page, feedback_page
from autograder.reports.table import to_csv
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

LOCK = ".lock"


class Report:
    """A folder that results are written to.

    Args:
        folder: Made if it is not there.
        grader: What judges, as `grader_digest` gives it; "" if results are not to be kept.
    """

    def __init__(self, folder: Path, grader: str = ""):
        self.folder = folder
        self.grader = grader
        self.results: list[Result] = []

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second grader out of the folder; the lock ends with its holder, killed or not.

        Raises:
            BatchError: If another grader is at work there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as file:
            with contextlib.suppress(ImportError):  # a system without such locks
                import fcntl

                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise BatchError(f"Another grader is at work in {self.folder}.") from error
            yield

    def keep(self, entries: Sequence[Entry], assignment: str) -> list[Entry]:
        """Take over the results of an earlier run that still hold; returns what is to be graded.

        One holds if the submission's bytes are those that were judged, by the same checks under
        the same limits, and the grader itself did not fail.
        """
        self._sweep()
        again = []
        for entry in entries:
            result = self._read(entry.student)
            if (
                result is not None
                and result.assignment == assignment
                and self._holds(result, entry)
            ):
                self.results.append(result)
            else:
                again.append(entry)
        return again

    def add(self, result: Result) -> None:
        """Write one student's result and feedback, at once; the result last, as it says "done"."""
        result = replace(result, grader=self.grader)
        self.results.append(result)
        name = file_name(result.student)
        write_text(self.folder / "feedback" / f"{name}.html", feedback_page(result))
        write_text(self.folder / "results" / f"{name}.json", to_json(result))

    def finish(self) -> list[Result]:
        """Write the scores and the class's page; returns the results by student."""
        self.results.sort(key=lambda result: result.student)
        write_text(self.folder / "scores.csv", to_csv(self.results))
        write_text(self.folder / "index.html", class_page(self.results))
        return self.results

    def _read(self, student: str) -> Result | None:
        path = self.folder / "results" / f"{file_name(student)}.json"
        # A file that someone has edited, or that an older version wrote, is graded again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            result = from_json(path.read_text(encoding="utf-8"))
            return result if result.student == student else None
        return None

    def _holds(self, result: Result, entry: Entry) -> bool:
        if not self.grader or result.grader != self.grader or result.status == "not_graded":
            return False
        try:
            return hashlib.sha256(read_bytes(entry.path)).hexdigest() == result.digest
        except FileNotFoundError:
            return result.status == "missing"
        except (UnreadableError, OSError):
            return False

    def _sweep(self) -> None:
        """Remove what a killed grader was in the middle of writing."""
        for folder in (self.folder, self.folder / "results", self.folder / "feedback"):
            for part in folder.glob(f".*{PART}"):
                part.unlink(missing_ok=True)


def grader_digest(assignment: str, limits: Limits, sandbox: Sandbox) -> str:
    """Digest all that a result depends on beside the submission: source, checks, engine, limits."""
    digest = hashlib.sha256(f"{limits} {sandbox.tier} {version('torch')}".encode())
    course = current_course()
    code = [path for folder in course.code for path in sorted(folder.rglob("*.py"))]
    for path in [course.solutions / f"{assignment}.py", *code]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
