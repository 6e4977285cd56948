"""The scores as a CSV table: one row for each student, one column for each task."""

import csv
import io
from collections.abc import Sequence

from autograder.records.results import Result
from autograder.records.text import printable

PENDING = "pending"
# A spreadsheet may read a text that starts so as a formula. Some accept full-width characters.
FORMULA = ("=", "+", "-", "@", "\\", "＝", "＋", "－", "＠")


def to_csv(results: Sequence[Result]) -> str:
    """Return the scores as CSV text; the points of a pending task are the word "pending"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tasks = [task.task for task in results[0].tasks] if results else []
    writer.writerow(["student", "status", "score", "max_score", *tasks, "tier"])
    for result in results:
        points = [PENDING if task.pending else f"{task.points:g}" for task in result.tasks]
        row = [result.status, f"{result.score:g}", f"{result.max_score:g}", *points, result.tier]
        writer.writerow([plain(result.student), *row])
    return text.getvalue()


def plain(name: str) -> str:
    """Return a name that no spreadsheet reads as a formula and no terminal as a command."""
    text = printable(name)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
