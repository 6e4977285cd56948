"""What the grader's tests share: each assignment's whole bank, graded once."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autograder import verify
from autograder.host import Limits
from autograder.results import Result

LIMITS = Limits(call_seconds=20.0)
# Side by side, each of pytest's workers grades a corpus of its own.
JOBS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
Graded = Callable[[str], dict[str, Result]]


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Grade an assignment's bank, its reference and its starter, two at a time; by name.

    Training is left out where it shows nothing new; `make verify` trains everyone.
    """

    @functools.cache
    def grade(assignment: str) -> dict[str, Result]:
        folder = tmp_path_factory.mktemp(assignment)
        graded = verify.grade_bank(assignment, folder, JOBS, LIMITS, thorough=False)
        return {result.student: result for result in graded}

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
