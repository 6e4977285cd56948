"""The demo class. Its results are tested with the wheel, in tests/package/test_wheel.py."""

from autograder.grading.batch import find_submissions
from autograder.quality import corpus, demo


def test_the_class_has_fifteen_correct_and_incorrect_submissions(tmp_path):
    folder = demo.make_class(tmp_path / "submissions")
    assert len(find_submissions(folder, demo.ASSIGNMENT)) == 15
    submissions = corpus.load_corpus(demo.ASSIGNMENT)
    assert {submissions[name].loses == () for name in demo.CORPUS.values()} == {True, False}
