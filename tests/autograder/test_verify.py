"""What `vaelab verify` says of results that are not what they should be."""

from dataclasses import replace

from autograder.grading.judge import unjudged
from autograder.quality import verify

ASSIGNMENT = "00_reparameterization"


def test_two_runs_that_differ_in_more_than_time_are_told_apart():
    slow = replace(unjudged(ASSIGNMENT, "ada", "graded", ""), seconds=3.0)
    quick = replace(
        slow, seconds=1.0, checks=(replace(slow.checks[0], seconds=1.0), *slow.checks[1:])
    )
    luckier = replace(quick, tasks=(replace(slow.tasks[0], points=5.0), *slow.tasks[1:]))
    assert verify.differing({"ada": slow}, {"ada": quick}) == ()
    assert verify.differing({"ada": slow, "bob": slow}, {"ada": luckier, "bob": quick}) == (
        "ada was graded otherwise the second time",
    )
