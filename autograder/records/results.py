"""What grading gives: one Result for each submission, to and from JSON."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

STATUSES = {
    "graded": "every check was run",
    "missing": "there is no notebook",
    "unreadable": "the file is not a notebook",
    "timeout": "it ran out of time",
    "memory": "it used too much memory",
    "cpu": "it used too much processor time",
    "processes": "it started too many processes",
    "disk": "it wrote too many files",
    "output": "it printed too much",
    "crashed": "its process ended by itself",
    "not_graded": "the grader itself failed; nothing is wrong with the submission",
}
PART = ".part"
OUTCOMES = ("passed", "failed", "todo", "not_run", "left_out")


@dataclass(frozen=True)
class CheckOutcome:
    """How one check went.

    Attributes:
        check: The check's name.
        task: The task it belongs to.
        points: What the task earns when this and its other checks pass.
        sentence: What the check asks for.
        outcome: One of `OUTCOMES`; "left_out" only where grading without training was asked for.
        message: What is wrong, for the student; "" if nothing is.
        mistake: The name of the recognised mistake, or None.
        seconds: Wall clock.
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
    """What one task earned.

    Attributes:
        task: Its id.
        title: A few words for the student.
        points: Earned points; 0 while pending.
        max_points: What it can earn.
        pending: True when a person has still to grade it.
    """

    task: str
    title: str
    points: float
    max_points: float
    pending: bool = False


@dataclass(frozen=True)
class Result:
    """A graded submission.

    Attributes:
        assignment: Its assignment.
        student: Whose it is.
        status: A key of `STATUSES`.
        message: Why it is not "graded"; "" if it is.
        tasks: Every task, in order.
        checks: Every check, in order.
        notes: What the judge repaired or left out, for the student and the instructor.
        facts: Measured figures, such as the training losses.
        seconds: Wall clock.
        tier: How the submission was confined, a key of `sandbox.tiers.TIERS`; "" if no judge ran.
        digest: SHA-256 of the submission's bytes; "" if they could not be read.
        grader: Digest of what judged it: checks, engine and limits; "" if nobody asked.
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
        """Earned points."""
        return sum(task.points for task in self.tasks)

    @property
    def max_score(self) -> float:
        """What the judge can give; written tasks stand beside it as `pending`."""
        return sum(task.max_points for task in self.tasks if not task.pending)

    @property
    def pending(self) -> float:
        """Points that a person has still to give."""
        return sum(task.max_points for task in self.tasks if task.pending)


def to_json(result: Result) -> str:
    """Write a result as JSON text, derived scores included."""
    body = asdict(result) | {
        "score": result.score,
        "max_score": result.max_score,
        "pending": result.pending,
    }
    return json.dumps(body, indent=2, ensure_ascii=True) + "\n"


def times_apart(result: Result) -> str:
    """Write a result as JSON text with all times 0: grading twice gives the same bytes."""
    checks = tuple(replace(check, seconds=0.0) for check in result.checks)
    return to_json(replace(result, checks=checks, seconds=0.0))


def from_json(text: str) -> Result:
    """Read a result from JSON text."""
    body = json.loads(text)
    for derived in ("score", "max_score", "pending"):
        body.pop(derived)
    body["tasks"] = tuple(TaskScore(**task) for task in body["tasks"])
    body["checks"] = tuple(CheckOutcome(**check) for check in body["checks"])
    body["notes"] = tuple(body["notes"])
    return Result(**body)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)
