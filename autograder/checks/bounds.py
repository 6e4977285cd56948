"""The bounds of checks that an instructor may set in the course file, such as loss thresholds."""

from typing import Any

from autograder.course.settings import FULL, Settings, course_file, unknown, wrong

MODULE = "test_"


def course_bounds(module: str, **usual: float) -> dict[str, Any]:
    """Return the bounds of an assignment, with those of the course file in the place of the usual.

    A module of checks keeps them as `BOUNDS`. `vaelab build` writes them into the starter's text.

    Args:
        module: The `__name__` of the module of checks.
        usual: The bounds by name. A whole number stays one. If the course grades on the full data
            set, `below_full` replaces `below`.

    Raises:
        CourseError: If the course file has a bound with another name, or a fraction in the place
            of a whole number.
    """
    assignment = module.rpartition(MODULE)[2]
    path, settings = course_file().path, course_file().of(assignment)
    for name, value in settings.bounds.items():
        key = f"assignment.{assignment}.bounds.{name}"
        if name not in usual:
            raise unknown(path, key, f"one of {', '.join(usual)}")
        if isinstance(usual[name], int) and not isinstance(value, int):
            raise wrong(path, key, value, "a whole number")
    return {**usual, **_of_full_set(settings, usual), **settings.bounds}


def _of_full_set(settings: Settings, usual: dict[str, float]) -> dict[str, float]:
    full = settings.data == FULL and "below_full" in usual
    return {"below": usual["below_full"]} if full else {}


def in_words(value: float) -> str:
    """Return a bound as texts show it: 1.5 million, 15,000, 0.04."""
    if value >= 1e6:
        return f"{value / 1e6:g} million"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
