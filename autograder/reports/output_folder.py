"""The output folder of a batch: results, feedback pages, scores and the class page.

Each result is written as soon as it is there, the class page and the scores at the end. A grader
that is killed leaves complete files only. The next run keeps the results that are still valid and
grades the other submissions.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from autograder.checks.seeds import SECRET_BYTES
from autograder.course.locate import current_course
from autograder.grading.batch import BatchError, Entry
from autograder.grading.notebook import UnreadableError, read_bytes
from autograder.records.results import PART, Result, from_json, to_json, write_text
from autograder.records.text import file_name
from autograder.reports.pages import class_page, feedback_page
from autograder.reports.table import to_csv
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import Sandbox

LOCK, SECRET = ".lock", ".secret"


class OutputFolder:
    """The folder that `vaelab grade` writes to.

    Args:
        folder: The folder. It is created when it is needed.
        grader: The value of `grader_digest` for this run; "" if no earlier result may be kept.

    Attributes:
        results: All results of the batch: kept ones and new ones.
    """

    def __init__(self, folder: Path, grader: str = ""):
        self.folder = folder
        self.grader = grader
        self.results: list[Result] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against a second grader; the kernel releases the lock of a killed one.

        Raises:
            BatchError: If another grader has locked the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as file:
            with contextlib.suppress(ImportError):  # the system has no such locks
                import fcntl

                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    raise BatchError(
                        f"Another grader is writing to {self.folder}. Wait until it has finished, "
                        "or choose another folder with --out."
                    ) from error
            yield

    def secret(self) -> bytes:
        """Return the secret of the checks' random inputs; make it at the first call.

        It stays in the folder, so that the same submission gets the same inputs when it is graded
        again. Only the grader's user can read it.

        Raises:
            BatchError: If the file is not the secret of an earlier run.
        """
        path = self.folder / SECRET
        if not os.path.lexists(path):
            handle, part = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=PART)  # mode 0600
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            # The file gets its name when it is complete: a grader can be killed at any moment.
            os.replace(part, path)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                found = file.read(SECRET_BYTES + 1)
        except OSError as error:
            raise BatchError(f"{path} cannot be read: {error.strerror}.") from error
        if len(found) != SECRET_BYTES:
            raise BatchError(
                f"{path} should have {SECRET_BYTES} bytes, the secret of the random inputs. Delete "
                "it; the next run makes a new one and grades with other inputs."
            )
        return found

    def keep_valid(self, entries: Sequence[Entry], assignment: str) -> list[Entry]:
        """Keep the results of an earlier run that are still valid.

        A result is valid if the bytes of the submission, the checks, the grader's code and the
        limits are unchanged, and if the grader did not fail.

        Args:
            entries: All submissions of the batch.
            assignment: The assignment's name.

        Returns:
            The submissions that must be graded.
        """
        self._remove_unfinished()
        to_grade = []
        for entry in entries:
            result = self._read(entry.student)
            if (
                result is not None
                and result.assignment == assignment
                and self._is_valid(result, entry)
            ):
                self.results.append(result)
            else:
                to_grade.append(entry)
        return to_grade

    def add(self, result: Result) -> None:
        """Write a student's feedback and result immediately.

        The result is written last: its file marks the submission as graded.
        """
        result = replace(result, grader=self.grader)
        self.results.append(result)
        name = file_name(result.student)
        write_text(self.folder / "feedback" / f"{name}.html", feedback_page(result))
        write_text(self.folder / "results" / f"{name}.json", to_json(result))

    def finish(self) -> list[Result]:
        """Write the scores and the class page; return the results, sorted by student."""
        self.results.sort(key=lambda result: result.student)
        write_text(self.folder / "scores.csv", to_csv(self.results))
        write_text(self.folder / "index.html", class_page(self.results))
        return self.results

    def _read(self, student: str) -> Result | None:
        path = self.folder / "results" / f"{file_name(student)}.json"
        # If a file was edited or comes from an older version, the submission is graded again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            result = from_json(path.read_text(encoding="utf-8"))
            return result if result.student == student else None
        return None

    def _is_valid(self, result: Result, entry: Entry) -> bool:
        if not self.grader or result.grader != self.grader or result.status == "not_graded":
            return False
        try:
            return hashlib.sha256(read_bytes(entry.path)).hexdigest() == result.digest
        except FileNotFoundError:
            return result.status == "missing"
        except (UnreadableError, OSError):
            return False

    def _remove_unfinished(self) -> None:
        """Remove the unfinished files of a killed grader."""
        for folder in (self.folder, self.folder / "results", self.folder / "feedback"):
            for part in folder.glob(f".*{PART}"):
                part.unlink(missing_ok=True)


def grader_digest(assignment: str, limits: Limits, sandbox: Sandbox) -> str:
    """Return a digest of everything that a result depends on except the submission.

    These are the assignment's source, the checks, the grader's code, the limits, the sandbox's tier
    and the version of PyTorch.
    """
    digest = hashlib.sha256(f"{limits} {sandbox.tier} {version('torch')}".encode())
    course = current_course()
    code = [path for folder in course.code for path in sorted(folder.rglob("*.py"))]
    for path in [course.solutions / f"{assignment}.py", *code]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
