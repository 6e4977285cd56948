"""What the grader's tests share: the whole bank, graded once."""

from pathlib import Path

import pytest

from autograder import bank, batch, demo
from autograder.host import Limits
from autograder.results import Result

ASSIGNMENT = "03_fc_vae"
LIMITS = Limits(call_seconds=20.0)


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Every banked submission and the demo's special ones, graded two at a time, by name."""
    folder = demo.make_class(tmp_path_factory.mktemp("class") / "submissions")
    entries = {
        name: batch.Entry(name, folder / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
        for name, student in {
            "reference": "ada",
            "starter": "blaise",
            "test_cell_deleted": "noor",
            "test_cell_twice": "olga",
            "not_json": "pierre",
        }.items()
    }
    for name, banked in bank.load_bank(ASSIGNMENT).items():
        path = bank.write(bank.make(ASSIGNMENT, banked), folder, f"bank-{name}", ASSIGNMENT)
        entries[name] = batch.Entry(name, path)
    results = batch.grade_all(list(entries.values()), ASSIGNMENT, 2, LIMITS)
    return {result.student: result for result in results}


@pytest.fixture
def write_notebook(tmp_path: Path):
    """Write some text as a student's notebook and give its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
