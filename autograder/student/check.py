"""The answer that a student gets in the notebook: `check("encoder")` shows a card."""

import sys
from collections.abc import Callable

from autograder.checks.evaluate import evaluate
from autograder.checks.registry import CheckSet, info, load_checks
from autograder.checks.vocabulary import Task
from autograder.protocol.remote import Submission, direct
from autograder.records.results import CheckOutcome
from autograder.student.display import show


def notebook_checks(assignment: str) -> Callable[[str], float]:
    """Give the `check` function of an assignment's notebook.

    Args:
        assignment: Its name, such as "03_fc_vae".

    Returns:
        `check(task)`: runs the task's checks on what is defined in the notebook right now, shows
        a card, and returns the points that the task would earn.
    """
    from autograder.worker.devices import preload

    checks = load_checks(assignment)
    preload()

    def check(task_id: str) -> float:
        names = sys._getframe(1).f_globals
        task = checks.task(task_id)
        outcomes = run_in_notebook(checks, task, names)
        earned = float(task.points) if all(o.outcome == "passed" for o in outcomes) else 0.0
        show(task, outcomes, earned)
        return earned

    return check


def run_in_notebook(checks: CheckSet, task: Task, names: dict) -> list[CheckOutcome]:
    """Run a task's checks on a live notebook's names."""
    from autograder.worker.worker import Worker

    submission = Submission(direct(Worker(names)), checks.assignment, in_notebook=True)
    functions = [f for f in checks.of(task.id) if info(f).in_notebook]
    return [evaluate(function, task, submission) for function in functions]
