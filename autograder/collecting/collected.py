"""Reads the table of `vaelab collect`: when and under which name each student handed in."""

import contextlib
import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from autograder.collecting.collect import TAKEN, TIME, UNCHANGED, table_of
from autograder.collecting.owners import FILE, PLATFORM, exchange_time
from autograder.grading.late import SubmissionTime
from autograder.reports.table import from_plain

NBGRADER, TIMESTAMP = "nbgrader", "timestamp.txt"
SOURCES = {PLATFORM: "of the learning platform", NBGRADER: "of nbgrader", FILE: "of the file"}


@dataclass(frozen=True)
class HandedIn:
    """How a student handed in the notebook that was taken.

    Attributes:
        time: When, in UTC, such as "2026-11-30 21:20:00"; "" if it is not known.
        late: Whether the platform says that it is late.
        attempts: How many attempts there were.
        file: The path in the download; "" if there is no notebook.
        source: Where the time comes from; see `Owned.clock`.
        is_current: Whether the time is surely that of the notebook in the student's folder.
    """

    time: str
    late: bool
    attempts: int
    file: str
    source: str = FILE
    is_current: bool = True

    @property
    def sentence(self) -> str:
        """A sentence for the student; "" if there is no notebook."""
        if not self.file:
            return ""
        what = f"the last of your {self.attempts} attempts" if self.attempts > 1 else "your file"
        late = ", late" if self.late else ""
        when = f", handed in on {self.time} UTC" if self.time else ""
        return f"Graded: {what}, {self.file}{when}{late}."


def read_collected(submissions: Path, assignment: str) -> dict[str, HandedIn]:
    """Return how each student handed in, by the name of the folder; empty without a table."""
    try:
        with table_of(submissions, assignment).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return {}
    return {
        from_plain(row["student"]): HandedIn(
            # The time of a file may be that of the download.
            (row.get("time") or "") if row.get("time_from", "file") else "",
            bool(row.get("late")),
            int(count) if (count := row.get("attempts") or "").isdigit() else 0,
            from_plain(row.get("file") or ""),
            row.get("time_from", FILE),
            row.get("state") in (TAKEN, UNCHANGED) and "time_from" in row,
        )
        for row in rows
        if row.get("student")
    }


def submission_times(submissions: Path, assignment: str) -> Callable[[str], SubmissionTime]:
    """Return a function that tells when a student's submission was handed in.

    With a table of `vaelab collect`, the times are those that it knows. Without one, they are those
    of the files.
    """
    if not table_of(submissions, assignment).is_file():
        return lambda student: _of_file(submissions / student / assignment / f"{assignment}.ipynb")
    collected = read_collected(submissions, assignment)

    def of_table(student: str) -> SubmissionTime:
        one = collected.get(student)
        if not one:
            return SubmissionTime(None)
        try:
            time = datetime.strptime(one.time, TIME).replace(tzinfo=UTC)
        except ValueError:
            return SubmissionTime(None, marked_late=one.late)
        known = time if one.is_current else None
        return SubmissionTime(known, SOURCES.get(one.source, one.source), one.late)

    return of_table


def _of_file(path: Path) -> SubmissionTime:
    """Return the time that nbgrader wrote beside a notebook, otherwise the notebook's own."""
    with contextlib.suppress(OSError):
        told = path.with_name(TIMESTAMP).read_text("utf-8", "replace")[:100]
        if time := exchange_time(told.strip()):
            return SubmissionTime(time, SOURCES[NBGRADER])
    try:
        return SubmissionTime(datetime.fromtimestamp(path.stat().st_mtime, UTC), SOURCES[FILE])
    except OSError:
        return SubmissionTime(None)
