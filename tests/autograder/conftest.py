"""Fixtures of the grader's tests: each assignment's submission corpus, graded once."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus_part import part_of

from autograder.grading.batch import Judges
from autograder.quality import verify
from autograder.records.results import Result
from autograder.sandbox.limits import Limits

LIMITS = Limits(call_seconds=20.0)
# Side by side, each of pytest's workers grades a corpus of its own.
JOBS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
Graded = Callable[[str], dict[str, Result]]


@pytest.fixture(scope="session")
def judges() -> Iterator[Judges]:
    """Yield judges that stay for all tests: a new one would import PyTorch twice."""
    with Judges(JOBS, LIMITS) as these:
        yield these


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory, judges: Judges) -> Graded:
    """Grade an assignment's corpus, reference and starter; return the results by name.

    See `part_of`. Submissions are trained only if their expected result needs it.
    """

    @functools.cache
    def grade(assignment: str) -> dict[str, Result]:
        folder = tmp_path_factory.mktemp(assignment)
        part = part_of(assignment)
        graded = verify.grade_corpus(assignment, folder, judges, thorough=False, submissions=part)
        return {result.student: result for result in graded}

    return grade


@pytest.fixture
def write_notebook(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a text as a student's notebook; return its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "ada" / "notebook.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
