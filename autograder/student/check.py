"""The function `check` of a student's notebook: `check("encoder")` shows the check results."""

import sys
from collections.abc import Callable

from autograder.checks.evaluate import evaluate
from autograder.checks.registry import CheckSet, load_checks
from autograder.checks.vocabulary import Task, info
from autograder.protocol.remote import Submission, direct
from autograder.records.results import CheckOutcome
from autograder.student.display import Points, show


def notebook_checks(assignment: str) -> Callable[[str], float]:
    """Return the `check` function of an assignment's notebook.

    Args:
        assignment: The assignment's name, such as "03_fc_vae".

    Returns:
        The function `check(task)`. It runs the task's checks on the names that the notebook
        defines now, shows their results, and returns the points that the task would earn.
    """
    from autograder.worker.devices import preload
    from autograder.worker.updates import count_updates

    checks = load_checks(assignment)
    preload()
    count_updates()

    def check(task_id: str) -> float:
        names = sys._getframe(1).f_globals
        task = checks.task(task_id)
        outcomes = run_in_notebook(checks, task, names)
        earned = float(task.points) if all(o.outcome == "passed" for o in outcomes) else 0.0
        show(task, outcomes, earned)
        return Points(earned)

    return check


def run_in_notebook(checks: CheckSet, task: Task, names: dict) -> list[CheckOutcome]:
    """Run a task's checks in a live notebook.

    Args:
        checks: The assignment's checks.
        task: The task. Checks that run only when a submission is graded are not run.
        names: The notebook's global names.

    Returns:
        One outcome for each check, in order.
    """
    from autograder.worker.worker import Worker

    submission = Submission(direct(Worker(names)), checks.assignment, in_notebook=True)
    return run_visible(checks, task, submission)


def run_visible(checks: CheckSet, task: Task, submission: Submission) -> list[CheckOutcome]:
    """Run those checks of a task that a notebook shows; return one outcome for each, in order."""
    submission.device_counts = checks.device_counts
    functions = [f for f in checks.of(task.id) if info(f).in_notebook]
    return [evaluate(function, task, submission) for function in functions]
