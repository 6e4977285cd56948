"""Reads the results of an output folder, for whoever exports them."""

from pathlib import Path

from autograder.grading.batch import BatchError
from autograder.grading.explain import read_result
from autograder.records.results import Result


def read_results(out: Path) -> list[Result]:
    """Return all results that `vaelab grade` wrote to a folder, sorted by student.

    Args:
        out: The output folder of one assignment.

    Raises:
        BatchError: If there is none, or if they belong to several assignments.
        ExplainError: If a file in the folder is not a result.
    """
    files = sorted((out / "results").glob("*.json"))
    if not files:
        raise BatchError(
            f"{out} has no results. Expected: {out}/results/<student>.json, as `vaelab grade` "
            "writes them."
        )
    results = sorted(map(read_result, files), key=lambda one: one.student)
    found = sorted({one.assignment for one in results})
    if len(found) > 1:
        raise BatchError(f"{out} has results of several assignments: {', '.join(found)}.")
    return results
