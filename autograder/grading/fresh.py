"""Runs the visible checks of a student's own notebook in a fresh process, before it is handed in.

The cells run as the judge runs them, without a sandbox: the code is the student's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.checks.registry import load_checks
from autograder.course.sources import Cell, assignments, load_source
from autograder.grading.cells import cell_notes, run_cells
from autograder.grading.notebook import (
    UnreadableError,
    claimed_assignment,
    grade_id,
    helpers_of,
    parse_notebook,
    read_bytes,
    read_json,
)
from autograder.protocol.ended import Ended
from autograder.protocol.remote import Submission
from autograder.records.errors import UserError
from autograder.records.results import GRADER_ERROR, SKIPPED, CheckOutcome, Result, TaskScore
from autograder.student.check import run_visible
from autograder.student.display import shown_as_passed, verdict
from autograder.worker.fresh import FreshWorker


@dataclass(frozen=True)
class FreshResult:
    """What a notebook earns in a fresh process.

    Attributes:
        result: Its tasks and its visible checks.
        states: The common outcome of each task's checks, by the task's id; see `display.verdict`.
        saved: Whether the notebook's saved output shows the task as passed, for each task of which
            the fresh result is another one.
        empty: The written answers that are still empty.
    """

    result: Result
    states: dict[str, str]
    saved: dict[str, bool]
    empty: tuple[Cell, ...]

    @property
    def passed(self) -> bool:
        """Return whether all checks passed that were run."""
        return set(self.states.values()) <= {"passed", SKIPPED}


def check_notebook(path: Path, train: bool = False) -> FreshResult:
    """Run a notebook's cells in a fresh process, and its visible checks.

    Args:
        path: The notebook.
        train: Whether to run the given `run` cells too. They train, and they plot.

    Raises:
        UserError: If the file is not a notebook of this course.
    """
    try:
        raw = read_bytes(path)
        body = _json(raw)
        assignment = claimed_assignment(body) or path.stem
        if assignment not in assignments():
            raise UserError(
                f"{path} does not say to which assignment it belongs; expected a notebook of this "
                "course, or one with the name of an assignment. Is it the file to hand in?"
            )
        opened = parse_notebook(raw, assignment, helpers_of(path, raw), runs=train)
    except UnreadableError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}.") from error

    checks, source = load_checks(assignment), load_source(assignment)
    notes = list(opened.notes)
    outcomes: list[CheckOutcome] = []
    tasks, states = [], {}
    with FreshWorker() as worker:
        ran = Submission(worker.ask, assignment, in_notebook=True, train=train)
        try:
            run_cells(ran, opened)
        except Ended as end:
            notes.append(f"The cell `{ran.cell}` did not end. {end}")
        notes += cell_notes(ran)
        for task in checks.tasks:
            # As in the notebook, no check of a task knows the results of other tasks.
            one = Submission(worker.ask, assignment, in_notebook=True, train=train)
            one.sources, one.cell_errors = ran.sources, ran.cell_errors
            found = run_visible(checks, task, one)
            outcomes += found
            states[task.id] = verdict(found)
            points = float(task.points) if states[task.id] == "passed" else 0.0
            open_ = states[task.id] in (SKIPPED, GRADER_ERROR)
            tasks.append(TaskScore(task.id, task.title, points, task.points, not_graded=open_))
    empty = tuple(cell for cell in source.of("answer") if not opened.answers[cell.id])
    every = (tuple(tasks), tuple(outcomes), tuple(notes), ran.facts, 0.0)
    result = Result(assignment, "", "graded", "", *every)
    decided = {task.task: task.points > 0 for task in tasks if not task.not_graded}
    saved = dict(_saved(body))
    saved = {name: shown for name, shown in saved.items() if decided.get(name, shown) != shown}
    return FreshResult(result, states, saved, empty)


def _json(raw: bytes) -> Any:
    """Return the notebook's JSON; None if it is not JSON, which `parse_notebook` reports."""
    try:
        return read_json(raw)
    except (ValueError, RecursionError):
        return None


def _saved(body: Any) -> Iterator[tuple[str, bool]]:
    """Yield (cell id, whether it passed) of each check result in the saved outputs."""
    for cell in body["cells"]:
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else ():
            data = output.get("data") if isinstance(output, dict) else None
            text = data.get("text/plain") if isinstance(data, dict) else None
            text = "".join(map(str, text)) if isinstance(text, list) else text
            passed = shown_as_passed(text) if isinstance(text, str) else None
            if passed is not None:
                yield grade_id(cell), passed
