"""The output folder of a batch: results, feedback pages, scores and the class page.

Each result is written as soon as it is there, the class page and the scores every few seconds. A
grader that is killed leaves complete files only. The next run keeps the results that are still
valid and grades the other submissions.
"""

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from autograder.checks.seeds import SECRET_BYTES
from autograder.course.additions import additions_digest
from autograder.course.locate import current_course
from autograder.course.settings import course_file
from autograder.grading.batch import BatchError, Entry
from autograder.grading.helpers import digest_of
from autograder.grading.judge import unjudged
from autograder.grading.notebook import UnreadableError, helpers_of, read_bytes
from autograder.grading.versions import fingerprint
from autograder.records.overrides import without_overrides
from autograder.records.results import PART, Result, Versions, from_json, now, to_json, write_text
from autograder.records.text import file_name, printable
from autograder.reports.pages import class_page, feedback_page
from autograder.reports.table import to_csv
from autograder.sandbox.limits import Limits
from autograder.sandbox.tiers import TIERS, Sandbox

LOCK, SECRET, OWNER = ".lock", ".secret", ".assignment"
# A result has a few KiB; a larger file is no result of the grader.
MAX_RESULT_BYTES = 16 << 20
# Scores and class page are written again after this many seconds, and after this many times the
# seconds that it took: pages of a large class take longer.
PAGES_SECONDS, PAGES_SHARE = 5.0, 30.0


class OutputFolder:
    """The folder that `vaelab grade` writes to.

    Args:
        folder: The folder. It is created when it is needed.
        grader: The value of `grader_digest` for this run; "" if no earlier result may be kept.
        versions: With what this run grades, without the date.
        adjust: Gives a result the decisions of persons and the penalty for a late submission.

    Attributes:
        results: All results of the batch: kept ones and new ones.
        waiting: Earlier results of submissions that are being graded again, by student.
        handed_in: A sentence about each student's file, by student, for the feedback.
    """

    def __init__(
        self,
        folder: Path,
        grader: str = "",
        versions: Versions | None = None,
        adjust: Callable[[Result], Result] = lambda result: result,
    ):
        self.folder = folder
        self.grader = grader
        self.versions = versions
        self.adjust = adjust
        self.results: list[Result] = []
        self.waiting: dict[str, Result] = {}
        self._pages_due = 0.0
        self.handed_in: Mapping[str, str] = {}
        self._names: dict[str, str] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against a second grader; the kernel releases the lock of a killed one.

        Raises:
            BatchError: If another grader has locked the folder, or files cannot be written there.
        """
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / LOCK).open("w")
        with file:
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

    def secret(self, of_term: Path | None = None) -> bytes:
        """Return the secret of the checks' random inputs; make it at the first call.

        It stays in the folder, so that the same submission gets the same inputs when it is graded
        again. Only the grader's user can read it.

        Args:
            of_term: A file with the secret of several output folders, which is copied; None if the
                folder has its own.

        Raises:
            BatchError: If the file is not a secret.
        """
        path = self.secret_file
        if of_term:
            self._write_secret(path, read_secret(of_term))
        elif not self.has_secret:
            self._write_secret(path, secrets.token_bytes(SECRET_BYTES))
        return read_secret(path)

    @property
    def secret_file(self) -> Path:
        """The file of the secret; see `secret`."""
        return self.folder / SECRET

    @property
    def has_secret(self) -> bool:
        """Whether there is a secret already."""
        return os.path.lexists(self.secret_file)

    def _write_secret(self, path: Path, secret: bytes) -> None:
        with self.writing():
            # Mode 0600.
            handle, part = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=PART)
            with os.fdopen(handle, "wb") as file:
                file.write(secret)
            # It gets its name when it is complete: a grader can be killed at any moment.
            os.replace(part, path)

    def claim(self, assignment: str) -> None:
        """Note that the folder belongs to an assignment.

        Raises:
            BatchError: If it belongs to another one, whose results would be overwritten.
        """
        path = self.folder / OWNER
        owner = path.read_text("utf-8", "replace").strip() if path.is_file() else ""
        if not owner:  # an older grader has not noted it
            every = sorted((self.folder / "results").glob("*.json"))
            owner = next((found.assignment for one in every if (found := _parsed(one))), assignment)
        if owner != assignment:
            raise BatchError(
                f"The output folder {self.folder} has the results of `{printable(owner, 100)}`. "
                f"Choose another folder for `{assignment}` with --out."
            )
        with self.writing():
            write_text(path, f"{assignment}\n")

    def earlier(self, entry: Entry, assignment: str) -> Result | None:
        """Return the result of an earlier run, also if its submission has changed since."""
        self._name_of(entry.student)
        result = self._read(entry.student)
        if result is None or result.assignment != assignment:
            return None
        right = unjudged(assignment, entry.student, "missing", "")
        return result if _has_parts_of(without_overrides(result), right) else None

    def keep_others(self, entries: Sequence[Entry], only: Collection[str], assignment: str) -> None:
        """Keep the earlier results of all students but some, whether they are valid or not.

        Raises:
            BatchError: If one of them has other tasks or points: it would not be in the scores.
        """
        others = [entry for entry in entries if entry.student not in only]
        found = {entry.student: self.earlier(entry, assignment) for entry in others}
        for student, result in found.items():
            if result is None and self._read(student):
                raise BatchError(
                    f"The result of {printable(student)} in {self.folder} has other tasks or "
                    "points: the checks or the course file have changed. Run the command without "
                    "--only."
                )
        for result in filter(None, found.values()):
            self.keep(result)

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
            result = self.earlier(entry, assignment)
            if result and self._is_valid(result, entry):
                self.keep(result)
            else:
                to_grade.append(entry)
        return to_grade

    def keep(self, result: Result) -> None:
        """Keep an earlier result; write it again if what was decided about it has changed."""
        adjusted = self.adjust(result)
        if adjusted != result:
            self._write(adjusted)
        self.results.append(adjusted)

    def copy(self, result: Result) -> None:
        """Write a result of another folder, with the decisions of this one."""
        adjusted = self.adjust(result)
        self._write(adjusted)
        self.results.append(adjusted)

    def stored(self) -> list[Result]:
        """Return all results in the folder, sorted by student.

        Raises:
            BatchError: If there is none, or one cannot be read.
        """
        found = []
        for path in sorted((self.folder / "results").glob("*.json")):
            if (result := _parsed(path)) is None:
                raise BatchError(
                    f"{path} is no result of this version. Run `vaelab grade` again: it grades "
                    "what has changed, and keeps the overrides."
                )
            self._name_of(result.student)
            found.append(result)
        if not found:
            raise BatchError(f"{self.folder} has no results. Expected a folder of `vaelab grade`.")
        return sorted(found, key=lambda result: result.student)

    def add(self, result: Result) -> None:
        """Write a student's feedback and result immediately.

        The result is written last: its file marks the submission as graded.

        Raises:
            BatchError: If the files cannot be written. All earlier files are unchanged.
        """
        versions = replace(self.versions, date=now()) if self.versions else None
        result = self.adjust(replace(result, grader=self.grader, versions=versions))
        self._write(result)
        self.results.append(result)
        self.waiting.pop(result.student, None)
        self._write_pages_if_due()

    def _write(self, result: Result) -> None:
        name = self._name_of(result.student)
        with self.writing():
            page = feedback_page(result, self.handed_in.get(result.student, ""))
            write_text(self.folder / "feedback" / f"{name}.html", page)
            write_text(self.folder / "results" / f"{name}.json", to_json(result))

    def finish(self) -> list[Result]:
        """Write the scores and the class page; return the results, sorted by student.

        Raises:
            BatchError: If the files cannot be written. All earlier files are unchanged.
        """
        self.results.sort(key=lambda result: result.student)
        self._write_pages()
        return self.results

    def _write_pages(self) -> None:
        """Write scores and class page of what is known now, with results that are replaced soon."""
        every = sorted((*self.results, *self.waiting.values()), key=lambda one: one.student)
        with self.writing():
            write_text(self.folder / "scores.csv", to_csv(every))
            if every:
                write_text(self.folder / "index.html", class_page(every))

    def _write_pages_if_due(self) -> None:
        """Write them at most every few seconds, and for at most a small part of the time."""
        started = time.monotonic()
        if started >= self._pages_due:
            self._write_pages()
            done = time.monotonic()
            self._pages_due = done + max(PAGES_SECONDS, PAGES_SHARE * (done - started))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Convert an error of the file system to one line for the user."""
        try:
            yield
        except OSError as error:
            raise BatchError(
                f"Cannot write to the output folder {self.folder}: {error.strerror or error}. "
                "Results that are there already are kept. Correct this, or choose another folder "
                "with --out; then run the same command again."
            ) from error

    def _name_of(self, student: str) -> str:
        """Return the file name of a student, which no other student of the batch may have.

        Raises:
            BatchError: If another student has it.
        """
        name = file_name(student)
        if self._names.setdefault(name, student) != student:
            raise BatchError(
                f"Two students have the file name {name}. Rename the folder of one of them."
            )
        return name

    def of_student(self, student: str) -> Result | None:
        """Return the result of a student in the folder; None if there is none that can be read."""
        self._name_of(student)
        return self._read(student)

    def _read(self, student: str) -> Result | None:
        # If a file was edited or comes from an older version, the submission is graded again.
        result = _parsed(self.folder / "results" / f"{file_name(student)}.json")
        return result if result and result.student == student else None

    def _is_valid(self, result: Result, entry: Entry) -> bool:
        if not self.grader or result.grader != self.grader or not result.is_complete:
            return False
        try:
            raw = read_bytes(entry.path)
            return digest_of(raw, helpers_of(entry.path, raw)) == result.digest
        except FileNotFoundError:
            return result.status == "missing"
        except (UnreadableError, OSError):
            return False

    def _remove_unfinished(self) -> None:
        """Remove the unfinished files of a killed grader."""
        for folder in (self.folder, self.folder / "results", self.folder / "feedback"):
            for part in folder.glob(f".*{PART}"):
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)


def read_secret(path: Path) -> bytes:
    """Return the secret in a file.

    Raises:
        BatchError: If the file cannot be read or is no secret.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            found = file.read(SECRET_BYTES + 1)
    except OSError as error:
        raise BatchError(
            f"{path} cannot be read: {error.strerror}. Expected: the secret of the random inputs, "
            f"{SECRET_BYTES} bytes. This makes one: head -c {SECRET_BYTES} /dev/urandom > {path}"
        ) from error
    if len(found) != SECRET_BYTES:
        raise BatchError(
            f"{path} should have {SECRET_BYTES} bytes, the secret of the random inputs. A new one "
            f"gives other inputs: head -c {SECRET_BYTES} /dev/urandom > {path}"
        )
    return found


def _parsed(path: Path) -> Result | None:
    """Return the result in a file; None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        if path.stat().st_size <= MAX_RESULT_BYTES:
            return from_json(path.read_text(encoding="utf-8"))
    return None


def _has_parts_of(result: Result, other: Result) -> bool:
    """Return whether two results have the same tasks and checks, and possible points and tier."""

    def parts(one: Result) -> list[object]:
        tasks = [(task.task, task.max_points, task.answer is None) for task in one.tasks]
        return [*tasks, *((check.task, check.check) for check in one.checks)]

    possible = all(0 <= task.points <= task.max_points for task in result.tasks)
    return possible and result.tier in {*TIERS, ""} and parts(result) == parts(other)


def grader_digest(assignment: str, limits: Limits, sandbox: Sandbox, secret: bytes) -> str:
    """Return a digest of everything that a result depends on except the submission.

    These are the assignment's source, the checks, the grader's code, what the course file sets and
    adds, the limits, the secret, the sandbox's tier and the version of PyTorch.
    """
    settings = course_file().of(assignment).graded_with + additions_digest()
    used = f"{limits} {settings} {fingerprint(secret)} {sandbox.tier} {version('torch')}"
    digest = hashlib.sha256(used.encode())
    course = current_course()
    code = [path for folder in course.code for path in sorted(folder.rglob("*.py"))]
    for path in [course.solutions / f"{assignment}.py", *code]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
