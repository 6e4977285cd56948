"""Every banked submission earns what it should, and hears what it should."""

import pytest

from autograder.bank import load_bank, make, write
from autograder.batch import Entry, grade_all
from autograder.checks import load_checks
from autograder.course import CourseError, assignments
from autograder.host import Limits
from autograder.verify import lost, problems_with, verify

EVERY = assignments()
BANKED = [(assignment, name) for assignment in EVERY for name in load_bank(assignment)]


@pytest.mark.parametrize(("assignment", "name"), BANKED)
def test_each_loses_its_task_alone_and_is_told_why(graded, assignment, name):
    assert problems_with(load_bank(assignment)[name], graded(assignment)[name]) == []


@pytest.mark.parametrize("assignment", EVERY)
def test_each_bank_holds_enough_right_and_wrong_work(assignment):
    bank = load_bank(assignment).values()
    assert sum(bool(b.loses) and b.status == "graded" for b in bank) >= 8
    assert sum(not b.loses for b in bank) >= 3


@pytest.mark.parametrize("assignment", EVERY)
def test_the_reference_gets_everything_and_no_remark(graded, assignment):
    result = graded(assignment)["reference"]
    assert result.score == result.max_score > 0
    assert result.notes == ()


@pytest.mark.parametrize("assignment", EVERY)
def test_the_untouched_starter_gets_nothing_and_is_no_error(graded, assignment):
    result = graded(assignment)["starter"]
    assert (result.status, result.score) == ("graded", 0)
    assert {check.outcome for check in result.checks} == {"todo"}


def test_what_ran_before_a_timeout_keeps_its_points(graded):
    result = graded("03_fc_vae")["endless"]
    assert result.status == "timeout"
    assert result.score == 25


def test_a_failed_part_is_trained_with_the_reference_in_its_place(tmp_path):
    """One for each part: the rest is the submission's own, and it reaches the threshold."""
    a = "03_fc_vae"
    parts = {t.id for t in load_checks(a).tasks if t.parts}
    first = {one.loses: one for one in reversed(load_bank(a).values()) if set(one.loses) <= parts}
    wrong = {one.name: one for loses, one in first.items() if len(loses) == 1}
    assert {one.loses[0] for one in wrong.values()} == parts
    entries = [Entry(n, write(make(a, one), tmp_path, n, a)) for n, one in wrong.items()]
    for result in grade_all(entries, a, 2, Limits()):
        assert lost(result) == wrong[result.student].loses
        losses = result.facts["training_losses"]
        assert losses[0] > 150
        assert losses[-1] < 120


def test_what_is_left_out_is_no_loss_and_no_gain(graded):
    """Untrained, a submission earns nothing for training and is not told that it failed."""
    result = graded("03_fc_vae")["kl_sign"]
    (training,) = [check for check in result.checks if check.task == "training"]
    assert training.outcome == "left_out"
    assert {task.task: task.points for task in result.tasks}["training"] == 0
    assert lost(result) == ("kl_divergence",)


@pytest.mark.xdist_group("corpus-06_vq_vae")
def test_a_remark_is_said_and_costs_nothing(graded):
    result = graded("06_vq_vae")["by_hand_in_the_usual_style"]
    assert result.score == result.max_score
    assert ["in place" in note for note in result.notes] == [True]


@pytest.mark.xdist_group("corpus-06_vq_vae")
def test_a_name_left_as_dots_is_still_to_do(graded):
    """What a half-filled method gives already is judged; the rest of it is no mistake."""
    result = graded("06_vq_vae")["only_the_nearest_code"]
    outcomes = {c.task: c.outcome for c in result.checks if c.outcome != "left_out"}
    assert outcomes["nearest_code"] == outcomes["ema"] == "passed"
    assert outcomes["vq_loss"] == outcomes["perplexity"] == "todo"


def test_an_edit_that_no_longer_fits_is_noticed():
    banked = load_bank("03_fc_vae")["kl_sign"]
    edit = banked.edits[0]
    for find in ("not there", "mu"):
        wrong = type(edit)(edit.cell, find, "")
        with pytest.raises(CourseError, match="not once"):
            make("03_fc_vae", type(banked)("x", "y", edits=(wrong,)))


def test_verify_says_what_does_not_hold(graded):
    """A right submission in a wrong one's place, and the other way round, are both noticed."""
    results = graded("03_fc_vae")
    before = verify("03_fc_vae", results)
    assert before.problems == ()
    swapped = results | {
        "kl_sign": results["torch_distributions"],
        "torch_distributions": results["kl_sign"],
        "bce_swapped": results["bce_with_logits"],
        "reference": results["no_sigmoid"],
        "starter": results["reference"],
    }
    found = verify("03_fc_vae", swapped)
    assert found.right == (before.right[0] - 1, before.right[1])
    assert found.wrong == (before.wrong[0] - 2, before.wrong[1])
    said = "\n".join(found.problems)
    for line in (
        "kl_sign lost ()",
        "torch_distributions lost ('kl_divergence',)",
        "bce_swapped was not told of recon_swapped",
        "the reference lost ('decoder',)",
        "the starter got 90",
    ):
        assert line in said
