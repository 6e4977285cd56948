"""The check that a part has as many features as `hidden_dim` says."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autograder.checks.shared.networks import Checks, named_check
from autograder.checks.shared.parts import is_frozen
from autograder.checks.vocabulary import CheckFailed, expect
from autograder.protocol.remote import Raised, RemoteObject, Submission

WIDTHS = (24, 48)
# The largest setting with which a model is made to explain an exception.
LARGEST = 4096


def width_checks(
    task: str,
    make: Callable[[Submission, int], RemoteObject],
    path: str,
    inputs: Callable[[], torch.Tensor],
) -> Checks:
    """Make the check that the size of a part follows `hidden_dim`.

    Args:
        task: The task's id.
        make: Makes the model for a value of `hidden_dim`, in eval mode.
        path: The part's attribute; "" for the model itself.
        inputs: Makes an input of the part.
    """

    @named_check(
        task,
        f"{task}_follows_hidden_dim",
        f"The number of hidden features of the {task} follows `hidden_dim`.",
    )
    def follows(submission: Submission) -> None:
        counts = [_count(make(submission, width), path, inputs()) for width in WIDTHS]
        expect(
            counts[0] != counts[1] or not counts[0],
            f"The {task} uses {counts[0]:,} parameters for every `hidden_dim`. Are its layers made "
            "with `hidden_dim`?",
            "hidden_dim_ignored",
        )

    return (follows,)


def sizes_followed(
    task: str,
    submission: Submission,
    sizes: Mapping[str, int],
    works: Callable[..., object],
) -> None:
    """Explain a part that raises an exception for these sizes, but not for the notebook's own.

    Args:
        task: The task's id.
        submission: The submission.
        sizes: The sizes for which it raises an exception, by the name of the argument; these are
            the names of the notebook's settings too.
        works: Makes and calls the part with such sizes.

    Raises:
        CheckFailed: If the part works with the notebook's settings, and not after a change of one
            of them to the given size.
    """

    def fits(tried: Mapping[str, int]) -> bool:
        try:
            works(**tried)
        except (Raised, CheckFailed):
            return False
        return True

    try:
        usual = {name: submission.value(name) for name in sizes}
    except Raised:
        return
    known = all(type(size) is int and 0 <= size <= LARGEST for size in usual.values())
    if not known or not fits(usual):
        return
    for name, size in sizes.items():
        expect(
            size == usual[name] or fits({**usual, name: size}),
            f"The {task} works with the `{name} = {usual[name]}` of your settings, and not with "
            f"`{name} = {size}`. Is one of its layers made for a fixed size, whatever `{name}` is?",
            f"{name}_ignored" if name == "hidden_dim" else "size_hard_coded",
        )


def _count(model: RemoteObject, path: str, x: torch.Tensor) -> int:
    """Return how many parameters a part uses; without gradients, how many it has."""
    part: Any = getattr(model, path) if path else model
    try:
        used = part.used_parameters(x)
    except Raised:
        used = part.parameters()
        # The check of its layers reports a frozen part.
        if not used and not is_frozen(part):  # such as a part that has not been started
            raise
    return sum(p.numel() for p in used.values())
