"""An assignment's reference solution, run in the judge. It never leaves it."""

import functools
from typing import Any

from autograder.course.regions import solved
from autograder.course.sources import load_source


@functools.cache
def load_reference(assignment: str) -> dict[str, Any]:
    """Run the reference's given and solution cells once; returns their names."""
    return run_reference(assignment)


def run_reference(assignment: str, seed: int | None = None) -> dict[str, Any]:
    """Run the reference's given and solution cells; returns their names.

    Args:
        assignment: Its name.
        seed: Takes the place of the seed that its cells set; None to leave it.
    """
    names: dict[str, Any] = {"__name__": f"reference_{assignment}"}
    for cell in load_source(assignment).of("setup", "solution"):
        exec(compile(solved(cell), f"<reference {cell.id}>", "exec"), names)
        if seed is not None and "seed_everything" in names:
            from vae_utils import seed_everything

            names["seed_everything"] = lambda _: seed_everything(seed)
    return names
