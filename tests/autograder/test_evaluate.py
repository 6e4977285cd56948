"""Exceptions of a submission become outcomes with the right message."""

import itertools
import time

import pytest

from autograder.checks.evaluate import _binds, _defines, defining_cell, evaluate
from autograder.checks.registry import load_checks
from autograder.checks.vocabulary import Task, check, fail, info, kind
from autograder.protocol.remote import Raised, Submission, direct
from autograder.quality.fuzz import fuzz
from autograder.records.results import GRADER_ERROR, CheckOutcome, Result, from_json, to_json
from autograder.reports.pages import class_page, feedback_page
from autograder.reports.table import to_csv
from autograder.worker.worker import Worker

TASK = Task("work", 1.0, "Work")


@check("work")
def calls_work(submission: Submission) -> None:
    """`work` can be called."""
    submission.object("work")()


@check("work")
def says_what_it_got(submission: Submission) -> None:
    """`work` returns a tensor."""
    fail(f"Got {kind(submission.object('work')())}.")


def outcome_of(cell: str, function=calls_work):
    submission = Submission(direct(Worker({"__name__": "__main__"})), "none")
    submission.run("import torch\n" + cell, "cell")
    return evaluate(function, TASK, submission)


def test_no_message_contains_a_control_character():
    """The name of a type is text of the submission, in the message of a check too."""
    kind = "type('\\x1b[2J\\u202e', (), {})()"
    got = outcome_of(f"def work():\n    return {kind}\n", says_what_it_got)
    assert got.message == "Got \\x1b[2J\\u202e."


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


@check("work")
def trusts_work(submission: Submission) -> None:
    """This check has a bug: it uses what `work` returns without validation."""
    assert submission.object("work")() + 1 > 0


def result_of(*kinds: str):
    from autograder.grading import judge

    task = load_checks("03_fc_vae").tasks[0]
    names = [info(f).name for f in load_checks("03_fc_vae").of(task.id)]
    outcomes = [
        CheckOutcome(name, task.id, task.points, "It works.", kind, "", None, 0.0)
        for name, kind in itertools.zip_longest(names, kinds, fillvalue=kinds[-1])
    ]
    tasks, checks = judge._scores("03_fc_vae", outcomes, "", {})
    return Result("03_fc_vae", "ada", "graded", "", tasks, checks, (), {}, 0.0)


def test_an_exception_of_a_check_is_an_error_of_the_grader():
    submission = Submission(direct(Worker({"__name__": "__main__"})), "none")
    submission.run("def work():\n    return 'text'", "cell")
    got = evaluate(trusts_work, TASK, submission)
    assert got.outcome == GRADER_ERROR
    assert "not of your work" in got.message
    assert "TypeError" in got.message
    assert "test_evaluate.py, line" in got.message


def test_an_error_of_the_grader_loses_no_points():
    result = result_of("passed", GRADER_ERROR, "passed")
    task = result.tasks[0]
    assert (task.points, task.not_graded, result.not_graded) == (0, True, task.max_points)
    assert result.max_score == sum(t.max_points for t in result.tasks[1:] if not t.pending)
    assert not result.is_complete
    assert from_json(to_json(result)) == result
    assert "not graded" in to_csv([result])
    assert "are not graded: the grader had an error" in feedback_page(result)
    assert "an error of the grader left tasks ungraded" in class_page([result])


def test_a_failed_check_loses_the_task_in_spite_of_an_error_of_the_grader():
    result = result_of("passed", GRADER_ERROR, "failed")
    assert not result.tasks[0].not_graded
    assert result.not_graded == 0


@pytest.mark.parametrize("assignment", ["00_reparameterization", "03_fc_vae"])
def test_odd_results_of_a_function_are_no_error_of_the_grader(assignment):
    """`make fuzzchecks` tries every function, every change and every check."""
    functions = ("kl_divergence", "myVAE.forward")
    found = list(fuzz(assignment, ("none", "parts texts", "parts wrapped"), functions))
    assert len(found) >= 3
    assert [str(error) for error in found if error] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def name(x):\n    1", True),
        ("class name: pass", True),
        ("a, name = 1, 2", True),
        ("name: int = 3", True),
        ("import os as name", True),
        ("    from os import name", True),
        ("def other():\n    name = 3", False),
        ("print(name)", False),
        ("other = name", False),
    ],
)
def test_the_cell_that_would_have_defined_a_name_is_found(source, found):
    assert any(_defines(line, "name") for line in source.splitlines()) is found


@pytest.mark.parametrize("part", ["\n", "name,", "name = ", " ", "import ", "from ", "name\n"])
def test_no_text_is_slow_to_search_for_a_name(part):
    submission = Submission(direct(Worker({})), "none")
    submission.sources = {"cell": part * (1_000_000 // len(part)) + "name"}
    submission.cell_errors = {"cell": Raised({})}
    started = time.process_time()
    defining_cell("name", submission)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("line", "binds"),
    [
        ("    batch_size, _ = x.shape", True),
        ("    def forward(self, x, batch_size=3):", True),
        ("    for batch_size in sizes:", True),
        ("    return x.view(batch_size, -1)", False),
        ("    y = x.view(batch_size, -1)", False),
        ("batch_sizes = 3", False),
    ],
)
def test_a_line_that_may_give_a_name_a_value_is_found(line, binds):
    assert _binds(line, "batch_size") is binds
