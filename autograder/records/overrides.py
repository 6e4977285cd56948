"""The log of points that a person gave in the place of the checks: OUT/overrides.jsonl.

Each line is one decision, and no line is ever changed: an override that is taken back stays in the
log. The last line of a task counts.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from autograder.records.errors import UserError
from autograder.records.results import Override, Result, TaskScore, write_text

LOG = "overrides.jsonl"


class OverrideError(UserError):
    """An override is not possible, or the log is damaged."""


@dataclass(frozen=True)
class Decision:
    """One line of the log.

    Attributes:
        date: When, in UTC, such as "2026-11-30 21:05:12".
        author: Who decided.
        student: The student's name.
        task: The task's id.
        points: The points; None if an override is taken back.
        reason: Why; may be "" if an override is taken back.
        tell: Whether the feedback tells the reason to the student.
        answer: The digest of the written answer that was marked; "" for other decisions.
    """

    date: str
    author: str
    student: str
    task: str
    points: float | None
    reason: str
    tell: bool = False
    answer: str = ""


def read_log(folder: Path) -> list[Decision]:
    """Return all decisions of an output folder, in order.

    Raises:
        OverrideError: If the log cannot be read, or a line is not a decision.
    """
    path = folder / LOG
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OverrideError(f"{path} cannot be read: {error}.") from error
    return [_decision(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _decision(line: str, where: str) -> Decision:
    try:
        body = json.loads(line)
        decision = Decision(**body)
    except (ValueError, TypeError, RecursionError) as error:
        raise OverrideError(
            f"{where} is no decision: {error}. Expected: JSON with {_names()}. Restore the file "
            "from a backup."
        ) from error
    one = decision
    texts = (one.date, one.author, one.student, one.task, one.reason, one.answer)
    points = decision.points
    number = points is None or (type(points) in (int, float) and math.isfinite(points))
    if not all(isinstance(text, str) for text in texts) or not number:
        raise OverrideError(f"{where} is no decision: a value has the wrong type.")
    return decision


def _names() -> str:
    return ", ".join(field.name for field in fields(Decision))


def append(folder: Path, decision: Decision) -> None:
    """Add a decision to the log; after an interruption the log is complete or unchanged.

    Raises:
        OverrideError: If the log is damaged; it stays as it is.
        OSError: If it cannot be written.
    """
    every = [*read_log(folder), decision]
    lines = (json.dumps(asdict(one), ensure_ascii=True) for one in every)
    write_text(folder / LOG, "".join(f"{line}\n" for line in lines))


def active(decisions: Iterable[Decision]) -> dict[str, dict[str, Decision]]:
    """Return the decisions that count now, by student and task."""
    found: dict[str, dict[str, Decision]] = {}
    for one in decisions:
        of_student = found.setdefault(one.student, {})
        of_student.pop(one.task, None)
        if one.points is not None:
            of_student[one.task] = one
    return {student: tasks for student, tasks in found.items() if tasks}


def without_overrides(result: Result) -> Result:
    """Return a result as the judge gave it."""
    before = {one.task: one.before for one in result.overrides}
    tasks = tuple(before.get(task.task, task) for task in result.tasks)
    return replace(result, tasks=tasks, overrides=())


def with_overrides(result: Result, decisions: Mapping[str, Decision]) -> Result:
    """Return a result with these decisions, by task, and no others.

    A mark of another answer than the one in the result does not count: the answer is pending again.

    Raises:
        OverrideError: If a task does not exist, or cannot earn so many points.
    """
    result = without_overrides(result)
    known = {task.task: task for task in result.tasks}
    for one in decisions.values():
        expect_possible(result, one.task, one.points)
    counted = [one for one in decisions.values() if not is_of_other_answer(one, known[one.task])]
    overrides = tuple(
        Override(
            one.task,
            float(one.points or 0),
            one.reason,
            one.author,
            one.date,
            one.tell,
            before=known[one.task],
        )
        for one in counted
    )
    points = {one.task: one.points for one in overrides}
    tasks = tuple(
        replace(task, points=points[task.task], pending=False, not_graded=False)
        if task.task in points
        else task
        for task in result.tasks
    )
    return replace(result, tasks=tasks, overrides=overrides)


def is_of_other_answer(one: Decision, task: TaskScore) -> bool:
    """Return whether a decision is the mark of another answer than the one that was graded.

    It is one too if it is not known which answer was graded.
    """
    return bool(one.answer) and task.answer is not None and one.answer != task.answer


def by_log(folder: Path) -> Callable[[Result], Result]:
    """Return a function that gives a result the decisions in the log of an output folder.

    Raises:
        OverrideError: If the log is damaged.
    """
    decided = active(read_log(folder))
    return lambda result: with_overrides(result, decided.get(result.student, {}))


def expect_possible(result: Result, task: str, points: float | None) -> None:
    """Expect that a task exists and can earn these points.

    Raises:
        OverrideError: If not.
    """
    most = {one.task: one.max_points for one in result.tasks}
    if task not in most:
        raise OverrideError(
            f"There is no task '{task}' in {result.assignment}, for {result.student}. The tasks "
            f"are: {', '.join(most)}."
        )
    if points is not None and not 0 <= points <= most[task]:
        raise OverrideError(
            f"{points:g} points for '{task}' of {result.student} are not possible; expected 0 to "
            f"{most[task]:g}."
        )
