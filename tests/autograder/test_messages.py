"""Messages show where values differ, and feedback shows one cause once."""

import math

import pytest
import torch

from autograder.checks.evaluate import explain
from autograder.checks.training import shown_loss
from autograder.checks.vocabulary import (
    CheckFailed,
    difference,
    expect_close,
    expect_whole_number,
    kind,
)
from autograder.protocol.remote import Raised, Submission
from autograder.records.causes import shown_messages
from autograder.records.results import CheckOutcome
from autograder.records.text import sentence


@pytest.mark.parametrize(
    ("right", "got"),
    [
        (2.0, 2.0002),
        (704.91, 704.9199),
        (0.0, 1e-300),
        (1.0, math.nan),
        ([1.0, 2.0], [1.0, 2.00001]),
        ([[1.0] * 6, [2.0] * 6], [[1.0] * 6, [2.0] * 5 + [2.000004]]),
        ([0.0] * 9, [0.0] * 8 + [math.inf]),
    ],
)
def test_a_message_never_shows_two_equal_numbers(right, got):
    right, got = (torch.tensor(values, dtype=torch.float64) for values in (right, got))
    shown = difference(right, got).split(" at index ")[0]
    expected, found = shown.split(", got ")
    assert expected != found


@pytest.mark.parametrize("nothing", [-0.0, 1.96e-17, -4e-15])
def test_a_rounding_error_is_shown_as_zero(nothing):
    right, got = (torch.tensor(pair, dtype=torch.float64) for pair in ([1.0, 2.0], [nothing, 2.0]))
    assert difference(right, got) == "1, 2, got 0, 2"


@pytest.mark.parametrize(
    ("value", "said", "todo"),
    [
        (None, "not filled in yet", True),
        (2.0, "a whole number, got 2.0", False),
        ("64", "a whole number, got '64'", False),
        (True, "a whole number, got True", False),
    ],
)
def test_a_setting_of_another_type_is_not_called_missing(value, said, todo):
    with pytest.raises(CheckFailed, match=said) as caught:
        expect_whole_number(value, "latent_dim")
    assert caught.value.todo == todo


def test_a_huge_loss_has_few_digits():
    assert shown_loss(1.456e29, 4) == "1.46e+29"
    assert shown_loss(106.04, 1) == "106.0"


def test_the_article_of_a_type_fits_its_name():
    assert kind(3) == "an int"
    assert kind("3") == "a str"


def test_the_entry_with_the_largest_difference_is_shown():
    right = torch.zeros(3, 4, 5)
    got = right.clone()
    got[0, 0, 0], got[2, 1, 3] = 0.1, -7.25
    with pytest.raises(CheckFailed) as caught:
        expect_close(got, right, "The line")
    assert "expected 0, got -7.25 at index [2, 1, 3]" in caught.value.message
    assert "…" not in caught.value.message


def test_another_explanation_comes_after_the_known_mistakes():
    def otherwise():
        raise CheckFailed("Another explanation.")

    with pytest.raises(CheckFailed, match="Another explanation"):
        expect_close(torch.ones(2), torch.zeros(2), "It", otherwise=otherwise)


@pytest.mark.parametrize("text", ["cut off…", "no", "no.", "why?"])
def test_a_sentence_has_one_mark_at_its_end(text):
    assert sentence(text) in (text, "no.")
    assert not sentence(text).endswith(("….", "..", "?."))


def outcome(number: int, message: str, mistake: str | None = None, state: str = "failed"):
    return CheckOutcome(f"c{number}", "t", 1.0, f"Check {number}.", state, message, mistake, 0.0)


NO_NAME = "Your code raised NameError: name '{}' is not defined, on line {} of its cell (`{}`)."
RAISED = "Your code raised RuntimeError: {}, on line 4 of its cell (`y = W @ x`)."


@pytest.mark.parametrize(
    ("first", "second", "mistake"),
    [
        (
            RAISED.format("shapes (5x784) and (5x4)"),
            RAISED.format("shapes (1x784) and (5x4)"),
            None,
        ),
        ("It is wrong. Expected 2, got 3.", "It is wrong. Expected 7, got 9.", "wrong"),
        (
            "`z` should have shape (9, 4), got (4, 9).",
            "`z` should have shape (7, 3), got (3, 7).",
            None,
        ),
        (NO_NAME.format("kl", 4, "bce + kl"), NO_NAME.format("kl", 6, "mse + kl"), None),
    ],
)
def test_one_cause_is_shown_once(first, second, mistake):
    shown = shown_messages([outcome(1, first, mistake), outcome(2, second, mistake)])
    assert shown == [first, "It fails for the same cause as the check “Check 1”."]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RAISED.format("no"), RAISED.format("no").replace("line 4", "line 5")),
        (NO_NAME.format("kl", 4, "bce + kl"), NO_NAME.format("bce", 4, "bce + kl")),
        ("The loss has the wrong value: expected 2, got 3.", "The KL is twice what it should be."),
    ],
)
def test_different_causes_are_all_shown(first, second):
    assert shown_messages([outcome(1, first), outcome(2, second)]) == [first, second]


def test_passed_and_unstarted_checks_keep_their_messages():
    outcomes = [outcome(n, "Not started.", state="todo") for n in (1, 2)]
    assert shown_messages(outcomes) == ["Not started."] * 2


def raised(text: str, code: str | None = None) -> Raised:
    where = {"cell": "vae", "line": 3, "text": code} if code else {}
    return Raised({"type": "NameError", "message": text, **where})


def test_a_missing_name_is_explained_by_the_cell_that_would_define_it():
    submission = Submission(lambda *_: iter(()), "none")
    submission.sources = {"other": "x = 1 / 0", "vae": "class VAE(\n    pass"}
    submission.cell_errors = {"other": raised("name 'q' is not defined"), "vae": raised("bad")}
    assert (
        "the cell `vae` raised" in explain(raised("name 'VAE' is not defined"), submission).message
    )
    # A typing error in a line of the student is not about any cell.
    typo = explain(raised("name 'num_hidden' is not defined", "h = num_hidden"), submission)
    assert typo.message.startswith("Your code raised NameError: name 'num_hidden' is not defined")
