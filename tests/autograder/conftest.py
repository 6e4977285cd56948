"""What the grader's tests share: each assignment's whole bank, graded once."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder import bank, batch, build
from autograder.host import Limits
from autograder.results import Result

LIMITS = Limits(call_seconds=20.0)
Graded = Callable[[str], dict[str, Result]]


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Grade an assignment's bank, its reference and its starter, two at a time; by name."""

    @functools.cache
    def grade(assignment: str) -> dict[str, Result]:
        folder = tmp_path_factory.mktemp(assignment)
        notebooks = {
            "reference": build.reference(assignment),
            "starter": build.starter(assignment),
        }
        for name, banked in bank.load_bank(assignment).items():
            notebooks[name] = bank.make(assignment, banked)
        entries = [
            batch.Entry(name, bank.write(notebook, folder, name, assignment))
            for name, notebook in notebooks.items()
        ]
        return {r.student: r for r in batch.grade_all(entries, assignment, 2, LIMITS)}

    return grade


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write some text as a student's notebook and give its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "ada" / "notebook.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
