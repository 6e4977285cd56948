"""`vaelab verify --twice` reports results that differ in more than their times."""

from dataclasses import replace

from autograder.grading.judge import unjudged
from autograder.quality import verify

ASSIGNMENT = "00_reparameterization"


def test_results_that_differ_in_more_than_their_times_are_reported():
    slow = replace(unjudged(ASSIGNMENT, "ada", "graded", ""), seconds=3.0)
    quick = replace(
        slow, seconds=1.0, checks=(replace(slow.checks[0], seconds=1.0), *slow.checks[1:])
    )
    other = replace(quick, tasks=(replace(slow.tasks[0], points=5.0), *slow.tasks[1:]))
    assert verify.differing({"ada": slow}, {"ada": quick}) == ()
    assert verify.differing({"ada": slow, "bob": slow}, {"ada": other, "bob": quick}) == (
        "ada: the second grading, with a cold worker, gave a different result.",
    )
