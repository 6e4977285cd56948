"""nbgrader accepts the source, and gives the same points as the judge, also for messy files."""

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.apps import NbGraderAPI
from traitlets.config import PyFileConfigLoader

from autograder.build import nbgrader_cells
from autograder.build.notebooks import (
    build_nbgrader,
    reference,
    starter,
    to_text,
    with_first_cell,
)

A = "00_reparameterization"  # it does not train


def with_role(notebook: NotebookNode, role: str) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.id.startswith(role)]


def doubled(notebook: NotebookNode) -> None:
    for role in ("solution-", "test-"):
        again = copy.deepcopy(with_role(notebook, role)[0])
        again.update(id=f"again-{role}0", source="1 / 0")
        notebook.cells.insert(0, again)


def without_a_test(notebook: NotebookNode) -> None:
    notebook.cells.remove(with_role(notebook, "test-")[1])


def without_the_last_solution_and_its_test(notebook: NotebookNode) -> None:
    notebook.cells.remove(with_role(notebook, "solution-")[-1])
    notebook.cells.remove(with_role(notebook, "test-")[-1])


def without_marks(notebook: NotebookNode) -> None:
    """As from a program that drops all metadata. nbgrader cannot find the student's cells."""
    for cell in notebook.cells:
        cell.metadata = NotebookNode()


FORMS: dict[str, tuple[Callable[[str], NotebookNode], Callable[[NotebookNode], object], float]] = {
    "reference": (reference, lambda _: None, 90.0),
    "starter": (starter, lambda _: None, 0.0),
    "doubled": (reference, doubled, 90.0),
    "no_test": (reference, without_a_test, 90.0),
    "no_last_part": (reference, without_the_last_solution_and_its_test, 55.0),
    "kit": (reference, lambda notebook: with_first_cell(notebook, "pass"), 90.0),
    "no_marks": (reference, without_marks, 0.0),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> NbGraderAPI:
    course = tmp_path_factory.mktemp("course")
    # nbgrader calls the program `alembic`, which is in the folder of this Python.
    bin_folder = Path(sys.executable).parent
    os.environ["PATH"] = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    build_nbgrader(course, [A])
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.db_url = f"sqlite:///{course}/gradebook.db"
    api = NbGraderAPI(config=config)
    generated = api.generate_assignment(A)
    assert generated["success"], generated
    for student, (make, change, _) in FORMS.items():
        notebook = make(A)
        change(notebook)
        (course / "submitted" / student / A).mkdir(parents=True)
        path = course / "submitted" / student / A / f"{A}.ipynb"
        path.write_text(to_text(notebook), encoding="utf-8")
    return api


@pytest.mark.parametrize("student", FORMS)
def test_nbgrader_gives_the_points(api, student):
    graded = api.autograde(A, student)
    assert graded["success"], graded["log"]
    with api.gradebook as gradebook:
        submission = gradebook.find_submission(A, student)
        grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
        assert sum(grade.auto_score or 0 for grade in grades) == FORMS[student][2]
        assert gradebook.find_assignment(A).max_code_score == 90.0


def test_without_our_step_nbgrader_stops_at_a_doubled_cell(api, monkeypatch):
    for name in ("doubled", "no_last_part"):
        monkeypatch.setattr(
            nbgrader_cells.RestoreCells, "preprocess", lambda self, nb, resources: (nb, resources)
        )
        assert "KeyError" in api.autograde(A, name)["log"]


def test_nbgraders_source_has_solution_markers_and_settings(tmp_path):
    build_nbgrader(tmp_path, [A])
    source = nbformat.read(tmp_path / "source" / A / f"{A}.ipynb", 4)
    assert any("### BEGIN SOLUTION" in cell.source for cell in source.cells)
    assert "exchange" in (tmp_path / "nbgrader_config.py").read_text()
