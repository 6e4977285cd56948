"""The result of grading one submission, and its JSON format."""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

STATUSES = {
    "graded": "all checks were run",
    "missing": "the notebook does not exist",
    "unreadable": "the file is not a readable notebook",
    "timeout": "the submission exceeded its time limit",
    "memory": "the submission exceeded its memory limit",
    "cpu": "the submission exceeded its limit of processor time",
    "processes": "the submission started too many processes",
    "disk": "the submission wrote too many files or too much data",
    "output": "the submission printed too much text",
    "crashed": "the submission's process ended unexpectedly",
    "not_graded": "the grader failed; this is not an error of the submission",
}
# Hexadecimal digits of a digest: 160 bits, so that no one finds two texts with the same one.
DIGEST_DIGITS = 40
PART = ".part"  # the suffix of a file that is being written
SKIPPED = "skipped"
GRADER_ERROR = "grader_error"
NOT_RUN = "not_run"
OUTCOMES = ("passed", "failed", "todo", NOT_RUN, SKIPPED, GRADER_ERROR)


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one check.

    Attributes:
        check: The check's name.
        task: The id of the check's task.
        points: The points of the task. It earns them if all of its checks pass.
        sentence: What the check expects.
        outcome: One of `OUTCOMES`. `SKIPPED` occurs only if grading without training was
            requested. `GRADER_ERROR`: the check itself raised an exception.
        message: What is wrong, in words for the student. If the check passed: a remark that costs
            no points, or "".
        mistake: The name of the recognised known mistake, or None.
        seconds: Wall-clock time.
    """

    check: str
    task: str
    points: float
    sentence: str
    outcome: str
    message: str
    mistake: str | None
    seconds: float


@dataclass(frozen=True)
class TaskScore:
    """The score of one task.

    Attributes:
        task: The task's id.
        title: A short title for the student.
        points: Earned points; 0 while `pending` or `not_graded` is true.
        max_points: The largest number of points that the task can earn.
        pending: True if a person must grade the task.
        not_graded: True if an error of the grader left it open whether the task is right.
        answer: For a written answer: its digest, or "" if it is not known. None for other tasks.
    """

    task: str
    title: str
    points: float
    max_points: float
    pending: bool = False
    not_graded: bool = False
    answer: str | None = None


@dataclass(frozen=True)
class Override:
    """Points that a person gave a task in the place of the checks.

    Attributes:
        task: The task's id.
        points: The points.
        reason: Why.
        author: Who gave them.
        date: When, in UTC, such as "2026-11-30 21:05:12".
        tell: Whether the feedback tells the reason to the student.
        before: The task's score without it.
    """

    task: str
    points: float
    reason: str
    author: str
    date: str
    tell: bool
    before: TaskScore


@dataclass(frozen=True)
class Late:
    """When a submission was handed in, and what it loses if that was late.

    Attributes:
        handed_in: The time in UTC, such as "2026-11-30 21:05:12"; "" if it is not known.
        due: When it was due for this student, in the same form.
        fraction: The fraction of the earned points that it loses; 0 if it was not late.
        note: How this was decided, for the student and the instructor.
    """

    handed_in: str
    due: str
    fraction: float
    note: str


@dataclass(frozen=True)
class Versions:
    """With what a submission was graded, for people; `Result.grader` is the digest of all of it.

    Attributes:
        course: The course's title and version.
        vaelab: The version of this package.
        torch: The version of PyTorch.
        python: The version of Python.
        limits: The limits of the submission, in words.
        inputs: The fingerprint of the secret of the random inputs; "" if there is no secret.
        date: When it was graded, in UTC, such as "2026-11-30 21:05:12"; "" if this does not matter.
    """

    course: str
    vaelab: str
    torch: str
    python: str
    limits: str
    inputs: str
    date: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one submission.

    Attributes:
        assignment: The assignment's name.
        student: The student's name.
        status: A key of `STATUSES`.
        message: Why the status is not "graded"; "" if it is.
        tasks: The score of every task, in order.
        checks: The result of every check, in order.
        notes: What the judge repaired or skipped, for the student and the instructor.
        facts: Measured numbers, such as the training losses.
        seconds: Wall-clock time.
        tier: The sandbox's tier, a key of `sandbox.tiers.TIERS`; "" if no judge ran.
        digest: SHA-256 of the notebook's bytes, and of the files that it uses; "" if they could not
            be read.
        grader: Digest of the checks, the grader's code and the limits; "" if it was not computed.
        look: Reasons to look at the submission: points were lost, and perhaps through its packaging
            rather than its work, such as a cell that failed before any check.
        versions: With what it was graded; None in a result of an older grader.
        overrides: What a person decided. `tasks` has these points.
        late: Whether it was late; None if there is no due date.
    """

    assignment: str
    student: str
    status: str
    message: str
    tasks: tuple[TaskScore, ...]
    checks: tuple[CheckOutcome, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]
    seconds: float
    tier: str = ""
    digest: str = ""
    grader: str = ""
    look: tuple[str, ...] = ()
    versions: Versions | None = None
    overrides: tuple[Override, ...] = ()
    late: Late | None = None

    @property
    def score(self) -> float:
        """The sum of the earned points, before the penalty for a late submission."""
        return sum(task.points for task in self.tasks)

    @property
    def penalty(self) -> float:
        """The points that a late submission loses."""
        return round(self.score * self.late.fraction, 2) if self.late else 0.0

    @property
    def final(self) -> float:
        """The points that count: the earned ones without the penalty."""
        return round(self.score - self.penalty, 6)

    @property
    def max_score(self) -> float:
        """The points that the judge has decided; others count in `pending` or `not_graded`."""
        decided = (task for task in self.tasks if not task.pending and not task.not_graded)
        return sum(task.max_points for task in decided)

    @property
    def lost_tasks(self) -> list[str]:
        """The ids of the tasks that the checks decided and that did not earn all their points."""
        decided = (task for task in self.tasks if not task.pending and not task.not_graded)
        checked = (task for task in decided if task.answer is None)
        return [task.task for task in checked if task.points < task.max_points]

    @property
    def pending(self) -> float:
        """The points of the tasks that a person must grade."""
        return sum(task.max_points for task in self.tasks if task.pending)

    @property
    def not_graded(self) -> float:
        """The points of the tasks that an error of the grader left open. They are not lost."""
        return sum(task.max_points for task in self.tasks if task.not_graded)

    @property
    def is_complete(self) -> bool:
        """Return whether the grader did its work: no error of its own left anything open."""
        return self.status != "not_graded" and not self.not_graded


def answer_digest(text: str) -> str:
    """Return a digest of a written answer: it tells whether the answer has changed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def now() -> str:
    """Return the time in UTC, such as "2026-11-30 21:05:12"."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


def to_json(result: Result) -> str:
    """Return a result as JSON text, with the scores that are derived from its tasks."""
    body = asdict(result) | {
        "score": result.score,
        "max_score": result.max_score,
        "pending": result.pending,
        "not_graded": result.not_graded,
        "penalty": result.penalty,
        "final": result.final,
    }
    return json.dumps(body, indent=2, ensure_ascii=True) + "\n"


def without_times(result: Result) -> str:
    """Return a result as JSON text with all times set to 0, and without the date.

    Grading a submission twice gives the same bytes.
    """
    checks = tuple(replace(check, seconds=0.0) for check in result.checks)
    versions = replace(result.versions, date="") if result.versions else None
    return to_json(replace(result, checks=checks, seconds=0.0, versions=versions))


def from_json(text: str) -> Result:
    """Return the result that `to_json` wrote as `text`.

    Raises:
        ValueError: If the text is not JSON, or not a result: a field is missing or unknown, has
            another type, or a status or an outcome is unknown.
    """
    try:
        body = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(body, dict):
        raise ValueError("a result must be a JSON object")
    for derived in ("score", "max_score", "pending", "not_graded", "penalty", "final"):
        body.pop(derived, None)
    body.setdefault("overrides", [])
    for name in ("tasks", "checks", "notes", "look", "overrides"):
        if not isinstance(body.get(name), list):
            raise ValueError(f"`{name}` must be a list")
    body["tasks"] = tuple(_record(TaskScore, item) for item in body["tasks"])
    body["checks"] = tuple(_record(CheckOutcome, item) for item in body["checks"])
    body["overrides"] = tuple(_override(item) for item in body["overrides"])
    if body.get("versions") is not None:
        body["versions"] = _record(Versions, body["versions"])
    if body.get("late") is not None:
        body["late"] = _record(Late, body["late"])
    for name in ("notes", "look"):
        if not all(isinstance(text, str) for text in body[name]):
            raise ValueError(f"each text of `{name}` must be a text")
        body[name] = tuple(body[name])
    result = _record(Result, body)
    if result.status not in STATUSES or not {c.outcome for c in result.checks} <= set(OUTCOMES):
        raise ValueError("the status or an outcome is unknown")
    return result


R = TypeVar("R", TaskScore, CheckOutcome, Override, Late, Versions, Result)


def _override(body: Any) -> Override:
    if isinstance(body, dict):
        body = body | {"before": _record(TaskScore, body.get("before"))}
    return _record(Override, body)


def _record(kind: type[R], body: Any) -> R:
    """Return a record with the fields of a JSON object; each field must have its type."""
    if not isinstance(body, dict):
        raise ValueError(f"a {kind.__name__} must be a JSON object")
    types = get_type_hints(kind)
    if unknown := body.keys() - types.keys():
        raise ValueError(f"a {kind.__name__} has no field {min(unknown)}")
    for field in fields(kind):
        if field.name in body and not _fits(body[field.name], types[field.name]):
            raise ValueError(f"`{field.name}` of a {kind.__name__} has the wrong type")
    try:
        return kind(**body)
    except TypeError as error:
        raise ValueError(f"a {kind.__name__} lacks a field: {error}") from error


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value has a type; a float may be a whole number, and must be finite."""
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if kind is float:
        # The bound keeps sums finite, and excludes integers that no float can hold.
        return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e15
    return isinstance(value, getattr(kind, "__origin__", kind))


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes, modified: float | None = None) -> None:
    """Write a file atomically: after an interruption it is complete or unchanged.

    Args:
        path: The file. Its folder is created if it is missing.
        content: Its bytes.
        modified: Its time, in seconds since the epoch; None for now.

    Raises:
        OSError: If it cannot be written, for example because the disk is full. The file is then
            unchanged, and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        if modified is not None:
            os.utime(name, (modified, modified))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
