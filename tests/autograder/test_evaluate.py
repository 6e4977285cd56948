"""Exceptions of a submission become outcomes with the right message."""

import pytest

from autograder.checks.evaluate import evaluate
from autograder.checks.vocabulary import Task, check
from autograder.protocol.remote import Submission, direct
from autograder.worker.worker import Worker

TASK = Task("work", 1.0, "Work")


@check("work")
def calls_work(submission: Submission) -> None:
    """`work` can be called."""
    submission.object("work")()


def outcome_of(cell: str):
    submission = Submission(direct(Worker({"__name__": "__main__"})), "none")
    submission.run("import torch\n" + cell, "cell")
    return evaluate(calls_work, TASK, submission)


@pytest.mark.parametrize(
    "body",
    [
        'raise NotImplementedError("TODO: encoder")',
        "return 1 + ...",
        "return torch.zeros(...)",
        "return (...)()",
        "return torch.nn.functional.relu(...)",
        "size = ...\n    return torch.nn.Linear(size, 3)",
        "return range(...)",
        "return (...).shape",
    ],
)
def test_a_placeholder_is_not_started(body):
    got = outcome_of(f"def work():\n    {body}\n")
    assert got.outcome == "todo", got.message


@pytest.mark.parametrize(
    "body",
    [
        "return torch.rand_like(torch.zeros(3, dtype=torch.uint8))",
        "return torch.bernoulli(torch.ones(3, dtype=torch.int64))",
        "return torch.nn.Module()(torch.zeros(1))",
        "raise NotImplementedError",
        'raise NotImplementedError("no such layer: TODO")',
        'return torch.einsum("i..j,...->...", torch.zeros(3), torch.zeros(3))',
    ],
)
def test_other_exceptions_are_reported_with_their_line(body):
    got = outcome_of(f"def work():\n    {body}\n")
    assert got.outcome == "failed"
    assert body in got.message
