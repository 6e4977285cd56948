"""Runs the cells of a submission in its worker, and provides what a cell lacks."""

import re
from dataclasses import dataclass, field, replace

from autograder.checks.evaluate import defining_cell, not_started
from autograder.checks.registry import load_checks
from autograder.course.additions import added_data
from autograder.course.settings import course_file
from autograder.course.sources import definitions, imported, load_source
from autograder.grading.notebook import CELL_SECONDS, EXTRA_CELL_SECONDS, Opened, ToRun
from autograder.protocol.remote import Raised, Submission
from autograder.records.text import sentence

SHOWN_NOTES = 20
# Exceptions of a cell that can be helped, and what is missing.
MISSING = {
    "NameError": re.compile(r"name '(\w+)' is not defined.*", re.S),
    "ModuleNotFoundError": re.compile(r"No module named '(\w+)'"),
}
NOTHING = re.compile(r"(?!)")
MOST_LEFT_OUT = 20
LEFT_OUT = (
    "The grader has no module `{}`: it has the notebook and the packages of the course only. Your "
    "cells were run without it."
)


def run_cells(submission: Submission, opened: Opened) -> Submission:
    """Run the cells of a submission, and return it; keep the exceptions that cells raise."""
    assignment = submission.assignment
    checks = load_checks(assignment)
    submission.device_counts = checks.device_counts
    for name, raw in added_data().items():
        submission.place(name, raw)
    for cell in opened.cells:
        if cell.is_added:  # before the import rule: it may import what it needs
            submission.run(cell.source, cell.name, module=cell.module)
    rule = checks.imports
    if not rule.further or rule.forbidden:
        given = imported(cell.source for cell in load_source(assignment).of("setup"))
        allowed = None if rule.further else [*given, *opened.modules, *course_file().packages]
        submission.restrict(allowed, rule.forbidden)
    needed = _Needed(definitions(load_source(assignment)))
    for cell in opened.cells:
        if cell.is_added:
            continue
        submission.sources[cell.name] = cell.source
        try:
            _run_cell(submission, cell, needed)
        except Raised as error:
            submission.cell_errors[cell.name] = error
            if error.kind == "TimeoutError" and cell.own:
                needed.cut[cell.name] = cell
    return submission


@dataclass(frozen=True)
class _Needed:
    """What a later cell may need; each one is used once.

    Attributes:
        given: The names that given `run` cells define, and the text that defines each.
        cut: The cells of the student's own that reached their limit, by name.
        left_out: The packages that are not installed and were left out.
    """

    given: dict[str, str]
    cut: dict[str, ToRun] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    def cell_for(self, name: str, submission: Submission) -> ToRun | None:
        """Return a cell that defines a missing name, and use it up; None if there is none."""
        cell = self.cut.pop(defining_cell(name, submission) or "", None)
        if cell:
            return replace(cell, seconds=CELL_SECONDS)
        text = self.given.pop(name, "")
        return ToRun(f"the cell of {name}", text, EXTRA_CELL_SECONDS) if text else None


def _run_cell(submission: Submission, cell: ToRun, needed: _Needed) -> None:
    """Run a cell; if it lacks something that can be provided, provide it and run it again.

    Raises:
        Raised: If the cell raises an exception.
    """
    try:
        submission.run(cell.source, cell.name, cell.seconds, cell.given, cell.module)
    except Raised as error:
        if not _helped(error, submission, needed):
            raise
        _run_cell(submission, cell, needed)


def _helped(error: Raised, submission: Submission, needed: _Needed) -> bool:
    """Provide what a cell lacked, so that it can run again; return whether that was possible.

    Raises:
        Raised: If a cell that it needs raises an exception.
    """
    missing = MISSING.get(error.kind, NOTHING).fullmatch(error.text)
    if not missing:
        return False
    if error.kind == "ModuleNotFoundError":
        if missing[1] in needed.left_out or len(needed.left_out) == MOST_LEFT_OUT:
            return False
        needed.left_out.add(missing[1])
        submission.leave_out(missing[1])
        submission.remark(LEFT_OUT.format(missing[1]))
        return True
    other = needed.cell_for(missing[1], submission)
    if not other:
        return False
    _run_cell(submission, other, needed)
    submission.cell_errors.pop(other.name, None)
    return True


def cell_notes(submission: Submission) -> tuple[str, ...]:
    """Return a sentence for each cell that failed, and the remarks of the submission."""
    raised = [_raised(name, error) for name, error in submission.cell_errors.items()]
    if (more := len(raised) - SHOWN_NOTES) > 0:
        raised[SHOWN_NOTES:] = [f"{more} more cells raised an exception."]
    return (*raised, *submission.remarks)


def failed_cells(submission: Submission) -> tuple[str, ...]:
    """Return a sentence for each cell that failed, unless it is one that is not filled in yet."""
    errors = list(submission.cell_errors.items())[:SHOWN_NOTES]
    return tuple(_raised(name, error) for name, error in errors if not not_started(error))


def _raised(name: str, error: Raised) -> str:
    return sentence(f"The cell `{name}` raised {error}")
