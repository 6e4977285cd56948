"""The scores as CSV: one row for each student, one column for each task, and the tier."""

import csv
import io
from collections.abc import Sequence

from autograder.records.results import Result
from autograder.records.text import shown

PENDING = "pending"
# What a spreadsheet may read as the start of a formula, in its full-width forms too.
FORMULA = ("=", "+", "-", "@", "\\", "＝", "＋", "－", "＠")


def to_csv(results: Sequence[Result]) -> str:
    """Write scores as CSV text; a written task stands as "pending"."""
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
    """Keep a spreadsheet from taking a name for a formula, and a terminal for a command."""
    seen = shown(name)
    return f"'{seen}" if seen.lstrip().startswith(FORMULA) else seen
