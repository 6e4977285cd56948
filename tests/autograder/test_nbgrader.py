"""nbgrader accepts the source, and gives the reference all points and the starter none."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from autograder.build.notebooks import build_nbgrader, reference, to_text

A = "03_fc_vae"


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> dict[str, float]:
    course = tmp_path_factory.mktemp("course")
    # nbgrader calls the program `alembic`, which is in the folder of this Python.
    os.environ["OMP_NUM_THREADS"] = "1"
    bin_folder = Path(sys.executable).parent
    os.environ["PATH"] = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    build_nbgrader(course, [A])
    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.db_url = f"sqlite:///{course}/gradebook.db"
    config.Execute.timeout = 600
    api = NbGraderAPI(config=config)
    generated = api.generate_assignment(A)
    assert generated["success"], generated
    released = course / "release" / A / f"{A}.ipynb"
    for student in ("reference", "starter", "ours"):
        (course / "submitted" / student / A).mkdir(parents=True)
    shutil.copy(released, course / "submitted" / "starter" / A)
    shutil.copy(Path("notebooks") / f"{A}.ipynb", course / "submitted" / "ours" / A)
    (course / "submitted" / "reference" / A / f"{A}.ipynb").write_text(to_text(reference(A)))
    for student in ("reference", "starter", "ours"):
        graded = api.autograde(A, student)
        assert graded["success"], graded
    with api.gradebook as gradebook:
        scores = {
            submission.student.id: sum(
                grade.auto_score or 0
                for notebook in submission.notebooks
                for grade in notebook.grades
            )
            for submission in gradebook.assignment_submissions(A)
        }
        return scores | {"max": gradebook.find_assignment(A).max_code_score}


def test_nbgrader_grades_the_reference_and_the_starters(scores):
    assert scores == {"reference": 90.0, "starter": 0.0, "ours": 0.0, "max": 90.0}


def test_nbgraders_source_has_solution_markers_and_settings(tmp_path):
    build_nbgrader(tmp_path, [A])
    source = nbformat.read(tmp_path / "source" / A / f"{A}.ipynb", 4)
    assert any("### BEGIN SOLUTION" in cell.source for cell in source.cells)
    assert (tmp_path / "nbgrader_config.py").is_file()
