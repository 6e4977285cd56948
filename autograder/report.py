"""Writes a graded class to a folder: each result as it comes, the class's pages at the end."""

from pathlib import Path

from autograder.exports.pages import class_page, feedback_page
from autograder.exports.table import to_csv
from autograder.results import Result, to_json, write_text


class Report:
    """A folder that results are written to.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        """Write one student's result and feedback, at once."""
        self.results.append(result)
        name = result.student
        write_text(self.folder / "results" / f"{name}.json", to_json(result))
        write_text(self.folder / "feedback" / f"{name}.html", feedback_page(result))

    def finish(self) -> list[Result]:
        """Write the scores and the class's page; returns the results by student."""
        self.results.sort(key=lambda result: result.student)
        write_text(self.folder / "scores.csv", to_csv(self.results))
        write_text(self.folder / "index.html", class_page(self.results))
        return self.results
