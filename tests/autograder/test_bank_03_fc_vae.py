"""Every banked submission to 03_fc_vae earns what it should, and hears what it should."""

import pytest

from autograder.bank import load_bank
from autograder.results import Result

BANK = load_bank("03_fc_vae")
RIGHT = ["unusual_but_right", "torch_distributions", "deeper_and_noisy"]


def lost(result: Result) -> tuple[str, ...]:
    return tuple(t.task for t in result.tasks if not t.pending and t.points < t.max_points)


@pytest.mark.parametrize("name", BANK)
def test_each_loses_its_task_alone_and_is_told_why(graded, name):
    banked, result = BANK[name], graded[name]
    assert result.status == banked.status, result.message
    assert lost(result) == banked.loses, [(c.check, c.message) for c in result.checks if c.message]
    if banked.mistake:
        named = [c for c in result.checks if c.mistake == banked.mistake]
        assert named, [(c.check, c.mistake, c.message) for c in result.checks]
        assert named[0].task in banked.loses


def test_the_bank_is_large_enough():
    wrong = [b for b in BANK.values() if b.loses and b.status == "graded"]
    assert len(wrong) >= 8
    assert [b.name for b in BANK.values() if not b.loses] == RIGHT


def test_the_reference_gets_everything(graded):
    result = graded["reference"]
    assert (result.score, result.max_score, result.pending) == (90, 90, 10)
    assert result.notes == ()
    assert result.facts["training_losses"][-1] < 120


def test_the_untouched_starter_gets_nothing_and_is_no_error(graded):
    result = graded["starter"]
    assert (result.status, result.score) == ("graded", 0)
    assert {check.outcome for check in result.checks} == {"todo"}


def test_a_deleted_test_cell_costs_nothing_and_is_mentioned(graded):
    result = graded["test_cell_deleted"]
    assert result.score == 90
    assert any("`kl_divergence` is missing" in note for note in result.notes)


def test_a_doubled_test_cell_costs_nothing_and_is_mentioned(graded):
    result = graded["test_cell_twice"]
    assert result.score == 90
    assert any("`kl_divergence` is there 2 times" in note for note in result.notes)


def test_what_is_not_json_is_unreadable(graded):
    result = graded["not_json"]
    assert (result.status, result.score) == ("unreadable", 0)
    assert "not JSON" in result.message
    assert {check.outcome for check in result.checks} == {"not_run"}


def test_what_ran_before_a_timeout_keeps_its_points(graded):
    result = graded["endless"]
    assert result.status == "timeout"
    assert result.score == 25


def test_a_failed_part_is_trained_with_the_reference_in_its_place(graded):
    for name in ("kl_dropped", "no_sampling", "no_sigmoid", "relu_on_logvar", "forward_decodes_mu"):
        losses = graded[name].facts["training_losses"]
        assert losses[0] > 150
        assert losses[-1] < 120
