"""Every corpus submission gets its expected points, status and known mistake."""

import pytest
from corpus_part import part_of

from autograder.checks.registry import load_checks
from autograder.course.locate import CourseError
from autograder.course.sources import assignments
from autograder.grading.batch import Entry
from autograder.quality.corpus import load_corpus, make, write
from autograder.quality.verify import lost, problems_with, verify
from autograder.quality.written import write_named
from autograder.records.results import SKIPPED

EVERY = assignments()
SUBMISSIONS = [(assignment, name) for assignment in EVERY for name in part_of(assignment)]


@pytest.mark.parametrize(("assignment", "name"), SUBMISSIONS)
def test_each_submission_gets_the_expected_result(graded, assignment, name):
    assert problems_with(load_corpus(assignment)[name], graded(assignment)[name]) == []


@pytest.mark.parametrize("assignment", EVERY)
def test_each_corpus_has_enough_correct_and_incorrect_submissions(assignment):
    corpus = load_corpus(assignment).values()
    assert sum(bool(one.loses) and one.status == "graded" for one in corpus) >= 8
    assert sum(not one.loses for one in corpus) >= 3


def test_the_corpora_have_200_correct_submissions():
    every = [one for assignment in EVERY for one in load_corpus(assignment).values()]
    assert sum(not one.loses and one.status == "graded" for one in every) >= 200


@pytest.mark.parametrize("assignment", EVERY)
def test_the_reference_earns_all_points_without_notes(graded, assignment):
    result = graded(assignment)["reference"]
    assert result.score == result.max_score > 0
    assert result.notes == ()


@pytest.mark.parametrize("assignment", EVERY)
def test_the_untouched_starter_earns_nothing_and_is_no_error(graded, assignment):
    result = graded(assignment)["starter"]
    assert (result.status, result.score) == ("graded", 0)
    assert {check.outcome for check in result.checks} == {"todo"}


def test_a_timeout_costs_the_points_of_its_task(graded):
    """The later tasks are graded in another process."""
    result = graded("03_fc_vae")["endless"]
    assert result.status == "timeout"
    assert result.score == 65
    assert result.look == ("The submission was still running at the time limit for one call.",)
    assert "graded in another process" in result.notes[0]


def test_a_failed_part_is_trained_with_the_reference_in_its_place(tmp_path, judges):
    """A network, a method and a term of the loss. `make verify` trains the others too.

    All other parts are the submission's own, and it passes the threshold.
    """
    a = "03_fc_vae"
    parts = ("decoder", "reparameterize", "kl_divergence")
    assert {task.id for task in load_checks(a).tasks if task.parts} >= {*parts}
    first = {one.loses: one for one in reversed(load_corpus(a).values())}
    wrong = {first[part,].name: first[part,] for part in parts}
    entries = [Entry(n, write(make(a, one), tmp_path, n, a)) for n, one in wrong.items()]
    for result in judges.grade_all(entries, a):
        assert lost(result) == wrong[result.student].loses
        losses = result.facts["training_losses"]
        assert losses[0] > 150
        assert losses[-1] < 120


def test_a_skipped_check_is_no_loss_and_earns_nothing(graded):
    """Without training, the training task earns nothing and is not reported as failed."""
    result = graded("03_fc_vae")["kl_sign"]
    (training,) = [check for check in result.checks if check.task == "training"]
    assert training.outcome == SKIPPED
    assert {task.task: task.points for task in result.tasks}["training"] == 0
    assert lost(result) == ("kl_divergence",)


@pytest.mark.parametrize("assignment", ["06_vq_vae"])
def test_a_note_costs_no_points(graded, assignment):
    result = graded(assignment)["by_hand_in_the_usual_style"]
    assert lost(result) == ()
    (note,) = result.notes
    assert "in-place" in note


@pytest.mark.parametrize("assignment", ["06_vq_vae"])
def test_a_name_left_as_dots_is_todo(graded, assignment):
    """The finished outputs of a half-written method are checked; the others are no mistake."""
    result = graded(assignment)["only_the_nearest_code"]
    outcomes = {c.task: c.outcome for c in result.checks if c.outcome != SKIPPED}
    assert outcomes["nearest_code"] == outcomes["ema"] == "passed"
    assert outcomes["vq_loss"] == outcomes["perplexity"] == "todo"


def test_an_edit_that_does_not_fit_raises():
    submission = load_corpus("03_fc_vae")["kl_sign"]
    edit = submission.edits[0]
    for find in ("not there", "mu"):
        wrong = type(edit)(edit.cell, find, "")
        with pytest.raises(CourseError, match="expected once"):
            make("03_fc_vae", type(submission)("x", "y", edits=(wrong,)))


@pytest.mark.parametrize(
    ("ways", "styles"),
    [({"sample": "no_such_way"}, ()), ({"no_such_slot": "usual"}, ()), ({}, ("no_such_style",))],
)
def test_a_way_or_a_style_that_nothing_uses_raises(ways, styles):
    with pytest.raises(CourseError, match="no_such"):
        write_named("03_fc_vae", ways, styles)


def test_verify_reports_unexpected_results(graded):
    """It reports a correct submission in the place of an incorrect one, and the reverse."""
    results = graded("03_fc_vae")
    part = part_of("03_fc_vae")
    before = verify("03_fc_vae", results, part)
    assert before.problems == ()
    swapped = results | {
        "kl_sign": results["torch_distributions"],
        "torch_distributions": results["kl_sign"],
        "bce_swapped": results["bce_with_logits"],
        "reference": results["no_sigmoid"],
        "starter": results["reference"],
    }
    found = verify("03_fc_vae", swapped, part)
    assert found.correct == (before.correct[0] - 1, before.correct[1])
    assert found.incorrect == (before.incorrect[0] - 2, before.incorrect[1])
    text = "\n".join(found.problems)
    for line in (
        "kl_sign: lost tasks: none, expected: kl_divergence.",
        "torch_distributions: lost tasks: kl_divergence, expected: none.",
        "bce_swapped: the mistake recon_swapped was not recognised.",
        "reference: lost tasks: decoder, notes: none;",
        "starter: 90 points, status 'graded';",
    ):
        assert line in text
