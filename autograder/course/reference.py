"""Runs an assignment's reference in the judge. The worker never receives it."""

import functools
from typing import Any

from autograder.course.regions import solved
from autograder.course.sources import load_source


@functools.cache
def load_reference(assignment: str) -> dict[str, Any]:
    """Run the reference's given and solution cells once; return the names that they define."""
    return run_reference(assignment)


def run_reference(assignment: str, seed: int | None = None) -> dict[str, Any]:
    """Run the reference's given and solution cells.

    Args:
        assignment: The assignment's name.
        seed: Replaces the seed that the cells set; None keeps it.

    Returns:
        The names that the cells define, with their values.
    """
    names: dict[str, Any] = {"__name__": f"reference_{assignment}"}
    for cell in load_source(assignment).of("setup", "solution"):
        exec(compile(solved(cell), f"<reference {cell.id}>", "exec"), names)
        if seed is not None and "seed_everything" in names:
            from vae_utils import seed_everything

            names["seed_everything"] = lambda _: seed_everything(seed)
    return names
