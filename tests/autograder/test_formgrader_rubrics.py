"""formgrader shows the rubric of a written answer; nothing that a student gets does."""

from autograder.build.notebooks import nbgrader_source
from autograder.exporting.formgrader import ShowRubrics
from autograder.marking.answers import questions

A = "03_fc_vae"
PAGE = {"submission_id": "1", "assignment_id": A}


def test_the_rubric_comes_below_the_answer():
    notebook, _ = ShowRubrics().preprocess(nbgrader_source(A), dict(PAGE))
    (asked,) = questions(A)
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    below = notebook.cells[ids.index(asked.task) + 1].source
    assert asked.rubric in below
    assert asked.model_answer in below


def test_feedback_and_other_notebooks_stay_as_they_are():
    notebook = nbgrader_source(A)
    for resources in ({"nbgrader": {"assignment": A}}, PAGE | {"assignment_id": "another"}):
        cells = [cell.source for cell in notebook.cells]
        shown, _ = ShowRubrics().preprocess(notebook, dict(resources))
        assert [cell.source for cell in shown.cells] == cells
