"""Classes in the place of those that cannot be made, so that a model of the other parts exists."""

import contextlib
from collections.abc import Collection, Sequence

from autograder.checks.evaluate import defining_cell
from autograder.checks.vocabulary import Task
from autograder.protocol.remote import Raised, Submission

STAND_IN = """
import torch as _torch
class {}(_torch.nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
"""


def define_missing(
    submission: Submission, tasks: Sequence[Task], failed: Collection[str], name: str
) -> None:
    """Run the cell that makes a global object again, with stubs for the classes that failed.

    Without them, one class that cannot be made would cost the points of the whole model's training
    too. The parts that failed are replaced by the reference's before the model is used.

    Args:
        submission: The submission.
        tasks: All tasks of the assignment.
        failed: The ids of the tasks that have failed.
        name: The object, such as "model".
    """
    with contextlib.suppress(Raised):
        submission.object(name)
        return
    cell = defining_cell(name, submission)
    classes = [one for task in tasks if task.id in failed for one in task.classes]
    if cell is None or not classes:
        return
    submission.repair("\n".join(STAND_IN.format(one) for one in classes), cell)
