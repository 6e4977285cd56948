"""In a batch, no submission changes the result of another one, and none stops the batch."""

import dataclasses
import os

import pytest

from autograder.build.notebooks import reference, starter
from autograder.grading import judge
from autograder.grading.batch import BatchError, Entry, find_submissions, grade_all
from autograder.quality import corpus
from autograder.records.results import without_times
from autograder.sandbox.limits import Limits

ASSIGNMENT = "03_fc_vae"


@pytest.fixture
def folder(tmp_path):
    corpus.write(reference(ASSIGNMENT), tmp_path, "ada", ASSIGNMENT)
    corpus.write(starter(ASSIGNMENT), tmp_path, "zoë ★", ASSIGNMENT)
    return tmp_path


def test_submissions_are_found_in_nbgraders_layout(folder):
    (folder / "empty-handed").mkdir()
    (folder / "notes.txt").write_text("not a student")
    assert [e.student for e in find_submissions(folder, ASSIGNMENT)] == [
        "ada",
        "empty-handed",
        "zoë ★",
    ]


def test_a_wrong_folder_raises_with_a_reason(folder):
    with pytest.raises(BatchError, match="no folder"):
        find_submissions(folder / "nowhere", ASSIGNMENT)
    with pytest.raises(BatchError, match="No submission to 99_other"):
        find_submissions(folder, "99_other")


def test_a_result_does_not_depend_on_the_rest_of_the_batch(folder, graded):
    """The result of ada in this batch has the same bytes as in the corpus, except times."""
    endless = corpus.load_corpus(ASSIGNMENT)["endless"]
    corpus.write(corpus.make(ASSIGNMENT, endless), folder, "loops", ASSIGNMENT)
    (folder / "nobody").mkdir()
    entries = find_submissions(folder, ASSIGNMENT)
    results = {r.student: r for r in grade_all(entries, ASSIGNMENT, 2, Limits(call_seconds=5))}
    assert set(results) == {"ada", "loops", "nobody", "zoë ★"}
    assert results["loops"].status == "timeout"
    assert results["nobody"].status == "missing"
    known = graded(ASSIGNMENT)
    for name, before in (
        ("ada", known["reference"]),
        ("zoë ★", known["starter"]),
    ):
        again = dataclasses.replace(before, student=name)
        assert without_times(results[name]) == without_times(again)


def test_a_submission_whose_judge_dies_is_not_graded(folder, monkeypatch):
    entries = [Entry("ada", folder / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")]
    monkeypatch.setattr(judge, "grade", _die)
    (result,) = grade_all(entries, ASSIGNMENT, 1, Limits())
    assert result.status == "not_graded"
    assert result.score == 0
    assert result.tasks[0].max_points == 15


def _die(*_):
    os._exit(3)
