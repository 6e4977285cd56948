"""The demo class gets the results that the README shows."""

import pytest

from autograder.grading.batch import find_submissions
from autograder.quality import corpus, demo


@pytest.fixture(scope="module")
def special(tmp_path_factory, judges):
    """Return the results of the students whose submissions are not from the corpus."""
    folder = demo.make_class(tmp_path_factory.mktemp("demo") / "submissions")
    entries = [e for e in find_submissions(folder, demo.ASSIGNMENT) if e.student not in demo.CORPUS]
    return {r.student: r for r in judges.grade_all(entries, demo.ASSIGNMENT)}


def test_the_class_has_fifteen_correct_and_incorrect_submissions(tmp_path):
    folder = demo.make_class(tmp_path / "submissions")
    assert len(find_submissions(folder, demo.ASSIGNMENT)) == 15
    submissions = corpus.load_corpus(demo.ASSIGNMENT)
    assert {submissions[name].loses == () for name in demo.CORPUS.values()} == {True, False}


def test_a_deleted_test_cell_costs_no_points_and_gets_a_note(special):
    assert special["noor"].score == 90
    assert any("`kl_divergence` is missing" in note for note in special["noor"].notes)


def test_a_repeated_test_cell_costs_no_points_and_gets_a_note(special):
    assert special["olga"].score == 90
    assert any("`kl_divergence` is there 2 times" in note for note in special["olga"].notes)


def test_a_file_that_is_not_json_is_unreadable(special):
    result = special["pierre"]
    assert (result.status, result.score) == ("unreadable", 0)
    assert "not JSON" in result.message
    assert {check.outcome for check in result.checks} == {"not_run"}


def test_the_reference_and_the_starter(special):
    ada, blaise = special["ada"], special["blaise"]
    assert (ada.score, ada.max_score, ada.pending) == (90, 90, 10)
    assert blaise.score == 0
