"""The result of grading one submission, and its JSON format."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
PART = ".part"  # the suffix of a file that is being written
SKIPPED = "skipped"
OUTCOMES = ("passed", "failed", "todo", "not_run", SKIPPED)


@dataclass(frozen=True)
class CheckOutcome:
    """The result of one check.

    Attributes:
        check: The check's name.
        task: The id of the check's task.
        points: The points of the task. It earns them if all of its checks pass.
        sentence: What the check expects.
        outcome: One of `OUTCOMES`. `SKIPPED` occurs only if grading without training was
            requested.
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
        points: Earned points; 0 while `pending` is true.
        max_points: The largest number of points that the task can earn.
        pending: True if a person must grade the task.
    """

    task: str
    title: str
    points: float
    max_points: float
    pending: bool = False


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
        digest: SHA-256 of the submission's bytes; "" if they could not be read.
        grader: Digest of the checks, the grader's code and the limits; "" if it was not computed.
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

    @property
    def score(self) -> float:
        """The sum of the earned points."""
        return sum(task.points for task in self.tasks)

    @property
    def max_score(self) -> float:
        """The points that the judge can give; written tasks count in `pending` instead."""
        return sum(task.max_points for task in self.tasks if not task.pending)

    @property
    def pending(self) -> float:
        """The points of the tasks that a person must grade."""
        return sum(task.max_points for task in self.tasks if task.pending)


def to_json(result: Result) -> str:
    """Return a result as JSON text, with the scores that are derived from its tasks."""
    body = asdict(result) | {
        "score": result.score,
        "max_score": result.max_score,
        "pending": result.pending,
    }
    return json.dumps(body, indent=2, ensure_ascii=True) + "\n"


def without_times(result: Result) -> str:
    """Return a result as JSON text with all times set to 0.

    Grading a submission twice gives the same bytes.
    """
    checks = tuple(replace(check, seconds=0.0) for check in result.checks)
    return to_json(replace(result, checks=checks, seconds=0.0))


def from_json(text: str) -> Result:
    """Return the result that `to_json` wrote as `text`.

    Raises:
        ValueError: If the text is not JSON.
        KeyError, TypeError: If a field is missing or unknown.
    """
    body = json.loads(text)
    for derived in ("score", "max_score", "pending"):
        body.pop(derived)
    body["tasks"] = tuple(TaskScore(**task) for task in body["tasks"])
    body["checks"] = tuple(CheckOutcome(**check) for check in body["checks"])
    body["notes"] = tuple(body["notes"])
    return Result(**body)


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: after an interruption it is complete or unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)
