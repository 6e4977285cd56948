"""An assignment's reference solution, run in the judge. It never leaves it."""

import functools
from typing import Any

from autograder.build import solved
from autograder.course import load_source


@functools.cache
def load_reference(assignment: str) -> dict[str, Any]:
    """Run the reference's given and solution cells; returns their names."""
    names: dict[str, Any] = {"__name__": f"reference_{assignment}"}
    for cell in load_source(assignment).of("setup", "solution"):
        exec(compile(solved(cell), f"<reference {cell.id}>", "exec"), names)
    return names
