"""Reads the table of `vaelab collect`: when and under which name each student handed in."""

import csv
from dataclasses import dataclass
from pathlib import Path

from autograder.collecting.collect import table_of


@dataclass(frozen=True)
class HandedIn:
    """How a student handed in the notebook that was taken.

    Attributes:
        time: When, in UTC, such as "2026-11-30 21:20:00"; "" if it is not known.
        late: Whether the platform says that it is late.
        attempts: How many attempts there were.
        file: The path in the download; "" if there is no notebook.
    """

    time: str
    late: bool
    attempts: int
    file: str

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
        row["student"]: HandedIn(
            # The time of a file may be that of the download.
            (row.get("time") or "") if row.get("time_from", "file") else "",
            bool(row.get("late")),
            int(count) if (count := row.get("attempts") or "").isdigit() else 0,
            row.get("file") or "",
        )
        for row in rows
        if row.get("student")
    }
